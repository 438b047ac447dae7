package names

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
)

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
	w.links.known.remove(o.name)
	w.must(o.name, "y")
	newWorld(t, c, gives(first)).must(o.name, "y") // a gateway replays the older record
}

// A stranger must not be able to make this registry forget a record, since a gateway
// could then replay an older one.
func TestFloodOfKeysRemovesNoNameInUse(t *testing.T) {
	const flood = maxNames + 104
	configured, used, stranger := newOwner(t, crypto.Ed25519), newOwner(t, crypto.Ed25519), newOwner(t, crypto.Ed25519)
	var w *world
	old := false
	w = newWorld(t, Config{Keys: true, Others: []Name{configured.name}}, func(r *http.Request) (*http.Response, error) {
		for _, o := range []owner{configured, used} {
			if r.URL.Path == "/ipns/"+o.name.String() && old {
				return gives(o.publish(t, pathOf("old"), 1))(r)
			} else if r.URL.Path == "/ipns/"+o.name.String() {
				return gives(o.publish(t, pathOf("new"), 2))(r)
			}
		}
		return status(http.StatusNotFound)(r)
	})
	w.must(configured.name, "new")
	w.must(used.name, "new")
	w.must(used.name, "new")
	old = true
	data := stranger.publish(t, pathOf("x"), 1)
	record, err := readRecord(data, stranger.name)
	if err != nil {
		t.Fatal(err)
	}
	k := w.keys
	for range 2 { // the second time, the strangers' names are in use as well
		for i := range flood {
			n := Name{domain: fmt.Sprintf("%d.example.com", i)} // it takes less time than a key
			k.remember(n, record)
			k.seen.use(n)
			w.links.known.set(n, record.link(minTTL))
			w.links.known.use(n)
			w.moved(n, End{})
		}
		for _, o := range []owner{configured, used} {
			w.links.known.remove(o.name)
			if w.must(o.name, "new"); k.recall(o.name).sequence != 2 {
				t.Error("an older record is used")
			}
		}
	}
}

// This holds on disk as well, and so over restarts.
func TestFloodOfKeysRemovesNoRecordInUse(t *testing.T) {
	o, stranger := newOwner(t, crypto.Ed25519), newOwner(t, crypto.Ed25519)
	d := &disk{dir: t.TempDir()}
	save := func(o owner, isInUse bool) {
		t.Helper()
		data := o.publish(t, pathOf("x"), 2)
		r, err := readRecord(data, o.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.save(o.name, r, data, isInUse); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(dir string) {
		for i := range maxNames {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	save(o, false)
	if err := d.keep(o.name); err != nil || !isKept(d.usedDir(), o.name) || isKept(d.dir, o.name) {
		t.Fatalf("the record was not moved: %v", err)
	}
	fill(d.dir)
	save(stranger, false)
	if r, err := d.load(o.name); err != nil || r.sequence != 2 {
		t.Errorf("record %d is kept, %v", r.sequence, err)
	}
	fill(d.usedDir())
	if err := d.keep(stranger.name); err != nil {
		t.Error(err)
	}
	save(newOwner(t, crypto.Ed25519), true)
	if files, err := readFiles(d.usedDir()); err != nil || len(files) != maxNames+1 || !isKept(d.usedDir(), o.name) || !isKept(d.dir, stranger.name) {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestIdleNameMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[int](func(Name) bool { return false }, nil)
		name := func(i int) Name { return Name{domain: fmt.Sprintf("%d.example.com", i)} }
		for i := range maxInUse + 1 {
			m.set(name(i), i)
			m.use(name(i))
		}
		if m.isInUse(name(maxInUse)) || !m.isInUse(name(0)) {
			t.Error("a name in use was removed")
		}
		clocktest.Advance(idleTime + time.Second)
		m.use(name(maxInUse))
		if !m.isInUse(name(maxInUse)) || len(m.inUse) != maxInUse {
			t.Errorf("an idle name was kept, of %d", len(m.inUse))
		}
	})
}
