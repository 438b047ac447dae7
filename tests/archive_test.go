package tests

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// An archive is what docker save wrote, entry by entry, for tests that take it
// apart or spoil it.
type archive []entry

type entry struct {
	tar.Header
	content []byte
}

// saved is what an archive's manifest.json says of its one image.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func readArchive(t *testing.T, file string) archive {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var a archive
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
		a = append(a, entry{*h, content})
	}
}

// write puts the archive into a file.
func (a archive) write(t *testing.T) (file string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range a {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "archive.tar")
	writeFile(t, file, b.String())
	return file
}

// find is the entry of that name.
func (a archive) find(t *testing.T, name string) entry {
	t.Helper()
	i := slices.IndexFunc(a, func(e entry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("no %s in the archive", name)
	}
	return a[i]
}

// file is an entry's content, or that of the entry that it links to.
func (a archive) file(t *testing.T, name string) []byte {
	t.Helper()
	e := a.find(t, name)
	if e.Typeflag == tar.TypeSymlink {
		return a.file(t, path.Join(path.Dir(name), e.Linkname))
	}
	return e.content
}

func (a archive) saved(t *testing.T) saved {
	t.Helper()
	var all []saved
	if err := json.Unmarshal(a.file(t, "manifest.json"), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d images in the archive", len(all))
	}
	return all[0]
}
