package names

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// A disk that was full for a moment keeps the next record.
func TestRecordIsKeptAfterAFailedWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOwner(t, crypto.Ed25519)
	c := Config{Keys: true, Dir: filepath.Join(dir, "names")}
	first := o.publish(t, pathOf("x"), 1)
	newWorld(t, c, gives(first)).must(o.name, "x")
	w := newWorld(t, c, gives(first))
	w.must(o.name, "x")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.set(gives(o.publish(t, pathOf("y"), 2)))
	w.links.known.Purge()
	w.must(o.name, "y")
	newWorld(t, c, gives(first)).must(o.name, "y") // a gateway replays the older record
}
