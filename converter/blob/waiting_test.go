package blob

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A short compressed archive can hold any number of files that no image names. On disk
// they wait compressed.
func TestUnnamedFilesTakeLittleDisk(t *testing.T) {
	ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Compression: Gzip, Level: DefaultLevel})
	var first, last *Content
	for range 8 {
		var err error
		if last, err = ws.Read("junk", maxPlain, ws.Source(io.LimitReader(zeros{}, maxPlain))); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = last
		}
	}
	var used int64
	files, err := filepath.Glob(filepath.Join(ws.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		used += info.Size()
	}
	if used > maxAllPlain+maxPlain {
		t.Errorf("8 files of %d bytes take %d bytes", maxPlain, used)
	}
	// A file becomes the same blob, whether it waited plain or compressed.
	for _, form := range []func(*Content) (*Blob, error){(*Content).AsIs, (*Content).AsLayer} {
		a, err := form(first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := form(last)
		if err != nil {
			t.Fatal(err)
		}
		if !a.File.CID.Equals(b.File.CID) || a.Digest != b.Digest {
			t.Errorf("%s and %s are of one content", a.File.CID, b.File.CID)
		}
	}
}

func TestSmallFilesAreCutTheSameHoweverTheyWait(t *testing.T) {
	ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Compression: Gzip, Level: DefaultLevel})
	data := bytes.Repeat([]byte("some text that is not a tar\n"), 100_000)
	read := func() *Blob {
		c, err := ws.Read("text", int64(len(data)), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.AsIs()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := read()
	ws.plain.Store(maxAllPlain)
	if waited := read(); !waited.File.CID.Equals(plain.File.CID) {
		t.Errorf("the CID is %s, and %s after waiting compressed", plain.File.CID, waited.File.CID)
	}
}
