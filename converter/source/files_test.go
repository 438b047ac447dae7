package source

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// openTar reads an archive, and adds an empty list of images, which every archive must have.
func openTar(t *testing.T, tb *testimage.Tarball) (*Layout, error) {
	t.Helper()
	return FromArchive(bytes.NewReader(tb.File(ocilayout.DockerList, []byte("[]")).Close())).Open(workspace(t))
}

// A path leads to the file that would be there if the archive were unpacked.
func TestFilesAreFoundAsIfUnpacked(t *testing.T) {
	file := func(name string) func(*testimage.Tarball) {
		return func(tb *testimage.Tarball) { tb.File(name, []byte("content")) }
	}
	link := func(kind byte, name, target string) func(*testimage.Tarball) {
		return func(tb *testimage.Tarball) { tb.Entry(&tar.Header{Typeflag: kind, Name: name, Linkname: target}, nil) }
	}
	chain := func(links int) func(*testimage.Tarball) {
		return func(tb *testimage.Tarball) {
			tb.File("link-0", []byte("content"))
			for i := range links {
				tb.Symlink(fmt.Sprintf("link-%d", i+1), fmt.Sprintf("link-%d", i))
			}
			tb.Symlink("start", fmt.Sprintf("link-%d", links))
		}
	}
	all := func(entries ...func(*testimage.Tarball)) func(*testimage.Tarball) {
		return func(tb *testimage.Tarball) {
			for _, add := range entries {
				add(tb)
			}
		}
	}
	const missing = "is missing"
	for name, test := range map[string]struct {
		archive func(*testimage.Tarball)
		path    string
		err     string // missing for a MissingError
	}{
		"as it is":                  {file("dir/file"), "dir/file", ""},
		"an entry after ./":         {file("./dir/file"), "dir/file", ""},
		"an entry with a slash":     {file("/dir/file"), "dir/file", ""},
		"a path with a slash":       {file("dir/file"), "/dir/file", ""},
		"an entry of Windows":       {file(`dir\file`), "dir/file", ""},
		"a path of Windows":         {file("dir/file"), `dir\file`, ""},
		"both of Windows":           {file(`dir\file`), `dir\file`, ""},
		"an entry outside":          {file("../dir/file"), "dir/file", missing},
		"a path outside":            {file("dir/file"), "../dir/file", missing},
		"the later of two":          {all(link(tar.TypeSymlink, "dir/file", "other"), file("dir/file")), "dir/file", ""},
		"a later link":              {all(file("dir/file"), link(tar.TypeSymlink, "dir/file", "other")), "dir/file", missing},
		"a symbolic link":           {all(link(tar.TypeSymlink, "dir/link", "../file"), file("file")), "dir/link", ""},
		"a hard link":               {all(file("dir/file"), link(tar.TypeLink, "other/link", "dir/file")), "other/link", ""},
		"a link to a directory":     {all(file("dir/file"), link(tar.TypeSymlink, "link", "dir")), "link/file", ""},
		"a link to nothing":         {link(tar.TypeSymlink, "link", "nothing"), "link", missing},
		"a link to itself":          {link(tar.TypeSymlink, "link", "link"), "link", missing},
		"as many links as may be":   {chain(maxLinks - 2), "start", ""},
		"more links than may be":    {chain(maxLinks), "start", missing},
		"a symbolic link outside":   {link(tar.TypeSymlink, "dir/link", "../../etc/passwd"), "dir/link", "leads out of the archive"},
		"an absolute symbolic link": {all(file("etc/passwd"), link(tar.TypeSymlink, "link", "/etc/passwd")), "link", "leads out of the archive"},
		"a hard link outside":       {link(tar.TypeLink, "link", "../etc/passwd"), "link", "leads out of the archive"},
		"below a link outside":      {link(tar.TypeSymlink, "link", "../etc"), "link/passwd", "leads out of the archive"},
	} {
		t.Run(name, func(t *testing.T) {
			tb := new(testimage.Tarball)
			test.archive(tb)
			l, err := openTar(t, tb)
			if err != nil {
				t.Fatal(err)
			}
			c, err := l.File(test.path)
			switch {
			case test.err == "" && err != nil:
				t.Fatal(err)
			case test.err == missing && !manifest.IsMissing(err):
				t.Errorf("the error is %v, want a MissingError", err)
			case test.err != "" && test.err != missing && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("the error is %v, want %q", err, test.err)
			}
			if test.err != "" {
				return
			}
			if data, err := c.Document(); err != nil || string(data) != "content" {
				t.Errorf("the content is %q, %v", data, err)
			}
		})
	}
}

// The holes of a sparse file are zeros.
func TestSparseFileHasItsHoles(t *testing.T) {
	const size = 100_000
	rest := new(testimage.Tarball).File(ocilayout.DockerList, []byte("[]")).Close()
	l, err := FromArchive(bytes.NewReader(slices.Concat(sparseEntry("hole", size), rest))).Open(workspace(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.File("hole")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := c.Document(); err != nil || !bytes.Equal(data, make([]byte, size)) {
		t.Errorf("there are %d bytes, %v; want %d zeros", len(data), err, size)
	}
}

// Editors on Windows put a byte order mark in front of a text.
func TestByteOrderMarksAreSkipped(t *testing.T) {
	const mark = "\xef\xbb\xbf"
	l, err := FromArchive(bytes.NewReader(new(testimage.Tarball).
		File(ocilayout.Index, []byte(mark+`{"manifests":[{"size":1}]}`)).
		File(ocilayout.DockerList, []byte(mark+` [{"Config":"config.json"}]`)).Close())).Open(workspace(t))
	if err != nil {
		t.Fatal(err)
	}
	if l.Index == nil || len(l.Index.Manifests) != 1 || len(l.DockerList) != 1 || l.DockerList[0].Config != "config.json" {
		t.Errorf("the index is %v, and the list %v", l.Index, l.DockerList)
	}
}
