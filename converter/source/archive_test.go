package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
)

func workspace(t *testing.T) *blob.Workspace {
	t.Helper()
	ws, err := blob.NewWorkspace(t.Context(), t.TempDir(), blob.Form{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
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

// A short compressed archive can hold any number of files that no image needs. They
// wait on disk until the manifest is read, so their bytes are bounded.
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

// A small layer that decompresses to very many bytes cannot fill the disk either, in an
// archive that is not compressed and in the directory of a layout.
func TestCompressedLayerCannotFillDisk(t *testing.T) {
	t.Parallel()
	var zeros bytes.Buffer
	z, err := zstd.NewWriter(&zeros, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for range 600 {
		z.Write(block)
	}
	z.Close()
	layer := zeros.Bytes()
	d := testimage.Describe(v1.MediaTypeImageLayerZstd, layer)
	dir := t.TempDir()
	for path, data := range map[string][]byte{ocilayout.BlobPath(d.Digest): layer, ocilayout.Index: []byte("{}")} {
		file := filepath.Join(dir, filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, read := range map[string]func(*blob.Workspace) error{
		"archive": func(ws *blob.Workspace) error {
			_, err := FromArchive(bytes.NewReader(new(testimage.Tarball).File("layer.tar", layer).Close())).Open(ws)
			return err
		},
		"layout": func(ws *blob.Workspace) error {
			l, err := FromLayout(dir).Open(ws)
			if err == nil {
				_, err = l.Blob(d)
			}
			return err
		},
	} {
		ws, err := blob.NewWorkspace(t.Context(), t.TempDir(), blob.Form{Compression: blob.Uncompressed, Recompress: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := read(ws); err == nil || !strings.Contains(err.Error(), "on disk") {
			t.Errorf("%s: got %v, want an error about the disk", name, err)
		}
		if n := ws.Written(); n > 300<<20 {
			t.Errorf("%s: %d bytes were written for a layer of %d", name, n, len(layer))
		}
	}
}

// A short archive can stand for any number of zeros in sparse files, so the zeros of all
// files together are bounded.
func TestSparseFilesAreBoundedTogether(t *testing.T) {
	const size = 1 << 20
	archive := slices.Concat(sparseEntry("first", size), sparseEntry("second", size), make([]byte, 1024))
	a := archiveReader{Layout: newLayout(workspace(t), "the archive"), holes: 3 * size / 2}
	err := a.readAll(bytes.NewReader(archive))
	if err == nil || !strings.Contains(err.Error(), `"second"`) || !strings.Contains(err.Error(), "sparse") {
		t.Errorf("got %v, want an error about the second sparse file", err)
	}
}

// sparseEntry returns an entry of GNU tar for a file that is one hole.
func sparseEntry(name string, size int64) []byte {
	header := make([]byte, 512)
	copy(header, name)
	for at, field := range map[int]string{
		100: "0000644", 108: "0000000", 116: "0000000", 124: "00000000000", 136: "00000000000",
		148: "        ", 156: "S", 257: "ustar  ",
		386: fmt.Sprintf("%011o", size), 398: "00000000000", // the only part: no bytes at the end
		483: fmt.Sprintf("%011o", size),
	} {
		copy(header[at:], field)
	}
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	return header
}

// A registry or a layout may claim any size for a blob.
func TestBlobOfAnySizeIsReadToItsEnd(t *testing.T) {
	for _, size := range []int64{math.MinInt64, -1, 0, 2, 4, math.MaxInt64} {
		data, err := io.ReadAll(&exactReader{strings.NewReader("abc"), size})
		if err == nil {
			t.Errorf("3 bytes are read as %q where %d were to come", data, size)
		}
	}
	if data, err := io.ReadAll(&exactReader{strings.NewReader("abc"), 3}); err != nil || string(data) != "abc" {
		t.Errorf("got %q, %v", data, err)
	}
}
