package source

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func workspace(t *testing.T) *blob.Workspace {
	form := blob.Form{Profile: unixfs.V1, Compression: blob.Gzip, Level: blob.DefaultLevel}
	return &blob.Workspace{Context: t.Context(), Dir: t.TempDir(), Form: form}
}

// All entries are kept in memory, so their number is bounded.
func TestEntriesAreBounded(t *testing.T) {
	full := func() archiveReader {
		a := archiveReader{Layout: newLayout(workspace(t), "the archive")}
		for i := range maxEntries {
			a.files.links[strconv.Itoa(i)] = link{"x", false}
		}
		return a
	}
	for name, test := range map[string]struct {
		add  *testimage.Tarball
		want string
	}{
		"a file":      {new(testimage.Tarball).File("more", nil), `reading "more" from the archive: more than 65536 files and links`},
		"a link":      {new(testimage.Tarball).Symlink("more", "x"), `reading "more" from the archive: more than 65536 files and links`},
		"one again":   {new(testimage.Tarball).File("0", nil).Symlink("1", "y").File(ocilayout.DockerList, []byte("[]")), `reading "manifest.json" from the archive: more than 65536`},
		"a long path": {new(testimage.Tarball).File(strings.Repeat("long/", maxPath), nil), "a path of more than 1024 bytes"},
		"a long link": {new(testimage.Tarball).Symlink("0", strings.Repeat("long/", maxPath)), "a path of more than 1024 bytes"},
	} {
		a := full()
		err := a.readAll(bytes.NewReader(test.add.Close()))
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || len(err.Error()) > 500) {
			t.Errorf("%s: the error is %v, want %q", name, err, test.want)
		}
	}
}
