package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

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

// A few bytes, compressed well, stand for any number of files, none of which an image
// may need. They wait on disk until the manifest tells.
func TestCompressedArchiveCannotFillDisk(t *testing.T) {
	t.Parallel()
	const fileSize = 60 << 20
	repeated := bytes.Repeat(testimage.Random("block", 64<<10), fileSize/(64<<10))
	var compressed bytes.Buffer
	z, err := zstd.NewWriter(&compressed, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for i := range 8 {
		if err := w.WriteHeader(&tar.Header{Name: "unused-" + strconv.Itoa(i), Size: fileSize, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(repeated); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if compressed.Len() > 1<<20 {
		t.Fatalf("the archive has %d bytes, and was to be small", compressed.Len())
	}
	ws := workspace(t)
	_, err = FromArchive(&compressed).Open(ws)
	if err == nil || !strings.Contains(err.Error(), "on disk") {
		t.Errorf("got %v, want an error about the disk", err)
	}
	const most = 512 << 20
	if n := ws.Written(); n > most {
		t.Errorf("%d bytes were written, want at most %d", n, most)
	}
}
