package blob

import (
	"bytes"
	"io"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A tar begins with the name of its first file, which may look like a magic number.
func TestNameOfFirstFileIsNoCompression(t *testing.T) {
	for beginning, want := range map[string]Encoding{
		"BZh1":                         Plain,
		"BZh91-readme.txt\x00\x00":     Plain,
		"BZh9\x31\x41\x59\x26\x53\x59": Bzip2,
		"BZh1\x17\x72\x45\x38\x50\x90": Bzip2,
		"BZh0\x31\x41\x59\x26\x53\x59": Plain,
	} {
		if got := EncodingOf([]byte(beginning)); got != want {
			t.Errorf("%q is taken for %s, want %s", beginning, got, want)
		}
	}
}

// Where layers stay uncompressed, a large layer that came as bzip2 is cut like any other
// file, as before this package knew bzip2.
func TestLargeBzip2IsCutLikeAnyFile(t *testing.T) {
	ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Compression: Uncompressed})
	const size = maxPlain + 1
	data := func() io.Reader {
		return io.LimitReader(io.MultiReader(bytes.NewReader([]byte("BZh9"+bzip2Block)), zeros{}), size)
	}
	c, err := ws.Read("layer", size, data())
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.AsIs()
	if err != nil {
		t.Fatal(err)
	}
	want, err := ws.Keep(data())
	if err != nil {
		t.Fatal(err)
	}
	if !got.File.CID.Equals(want.File.CID) {
		t.Errorf("the CID is %s, want %s", got.File.CID, want.File.CID)
	}
}
