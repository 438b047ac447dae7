package harness

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// An Archive is the entries of a tar file, such as docker save writes, for tests that
// take it apart or damage it.
type Archive []Entry

// An Entry is an entry of a tar file.
type Entry struct {
	tar.Header
	Content []byte
}

// A SavedImage describes an image in an archive's manifest.json.
type SavedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// ReadArchive reads a tar file.
func ReadArchive(t *testing.T, file string) Archive {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var a Archive
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return a
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		a = append(a, Entry{*h, content})
	}
}

// Write writes the archive to a new file.
func (a Archive) Write(t *testing.T) (file string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range a {
		e.Size = int64(len(e.Content))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "archive.tar")
	WriteFile(t, file, b.String())
	return file
}

// Find returns the entry with a name.
func (a Archive) Find(t *testing.T, name string) Entry {
	t.Helper()
	i := slices.IndexFunc(a, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("no %s in the archive", name)
	}
	return a[i]
}

// File returns the content of an entry. It follows symbolic links.
func (a Archive) File(t *testing.T, name string) []byte {
	t.Helper()
	e := a.Find(t, name)
	if e.Typeflag == tar.TypeSymlink {
		return a.File(t, path.Join(path.Dir(name), e.Linkname))
	}
	return e.Content
}

// Saved returns the description of the archive's only image.
func (a Archive) Saved(t *testing.T) SavedImage {
	t.Helper()
	var all []SavedImage
	if err := json.Unmarshal(a.File(t, "manifest.json"), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d images in the archive", len(all))
	}
	return all[0]
}

// WriteArchive writes any content to a file with an archive's name.
func WriteArchive(t *testing.T, content string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "archive.tar")
	WriteFile(t, file, content)
	return file
}

// Gzipped returns content compressed by Go's gzip.
func Gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// DigestOf returns the digest of content, in the form sha256:….
func DigestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ArchiveOfLayers writes an archive as docker save does. Each layer has one file, in
// /srv, with the given content.
func ArchiveOfLayers(t *testing.T, name string, layers ...string) (file string) {
	t.Helper()
	var tars [][]byte
	for i, content := range layers {
		layer := Archive{{tar.Header{Name: fmt.Sprintf("srv/%d", i), Mode: 0o644}, []byte(content)}}.Write(t)
		tars = append(tars, []byte(ReadFile(t, layer)))
	}
	return ArchiveOfTars(t, name, tars...)
}

// ArchiveOfTars writes an archive as docker save does, with the given layers.
func ArchiveOfTars(t *testing.T, name string, layers ...[]byte) (file string) {
	t.Helper()
	var a Archive
	config := map[string]any{"architecture": "amd64", "os": "linux"}
	image := SavedImage{Config: "config.json", RepoTags: []string{name}}
	var diffIDs []string
	for i, layer := range layers {
		image.Layers = append(image.Layers, fmt.Sprintf("%d/layer.tar", i))
		diffIDs = append(diffIDs, DigestOf(layer))
		a = append(a, Entry{tar.Header{Name: image.Layers[i], Mode: 0o644}, layer})
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffIDs}
	for name, document := range map[string]any{image.Config: config, "manifest.json": []SavedImage{image}} {
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		a = append(a, Entry{tar.Header{Name: name, Mode: 0o644}, b})
	}
	return a.Write(t)
}

// Without returns the archive without the entries that have a name.
func (a Archive) Without(name string) Archive {
	var rest Archive
	for _, e := range a {
		if e.Name != name {
			rest = append(rest, e)
		}
	}
	return rest
}
