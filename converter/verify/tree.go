package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	maxPaths = 1 << 18 // files and directories below a root

	// maxPath is how long the path of a file may be that is looked at. Those of
	// images have fewer than 400 characters.
	maxPath = 1 << 10
)

// A treeCheck is the verification of what is below one root.
type treeCheck struct {
	*Verifier
	ctx    context.Context
	cancel context.CancelCauseFunc
	root   cid.Cid
	what   origin.Selection

	paths       int
	directories map[string]Size    // by path
	entries     map[string]cid.Cid // files by path, of which some may not be meant

	documents map[string]*checkedDocument // by CID, nil where it cannot be read
	manifests map[string]*checkedManifest // by path, and indexes of referrers as well
	contents  map[string]*storedFile      // other files by CID, nil where it cannot be read
	reached   map[string]bool             // paths
	byDiffID  map[string]bool             // paths of layers that go by the digest of what is in them
}

// A checkedDocument is a manifest, or another small file that is read whole.
type checkedDocument struct {
	data []byte
	size Size
}

func newTreeCheck(ctx context.Context, cancel context.CancelCauseFunc, v *Verifier, root cid.Cid, s origin.Selection) *treeCheck {
	return &treeCheck{
		Verifier: v, ctx: ctx, cancel: cancel, root: root, what: s,
		directories: map[string]Size{},
		entries:     map[string]cid.Cid{},
		documents:   map[string]*checkedDocument{},
		manifests:   map[string]*checkedManifest{},
		byDiffID:    map[string]bool{},
		contents:    map[string]*storedFile{},
		reached:     map[string]bool{},
	}
}

func (t *treeCheck) fault(at string, c cid.Cid, err error) {
	t.Verifier.fault(t.ctx, t.cancel, Fault{t.root, at, c, err})
}

// directory lists a directory and those below it.
func (t *treeCheck) directory(at string, c cid.Cid) {
	var size Size
	entries, err := unixfs.List(t.ctx, func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := t.from.Block(ctx, c)
		size.add(Size{1, int64(len(data))})
		return data, err
	}, c)
	if errors.Is(err, unixfs.ErrNotDirectory) && at != "" {
		t.entries[at] = c
		return
	}
	if errors.Is(err, unixfs.ErrNotDirectory) {
		err = fmt.Errorf("%s has no directory there, as an image is: %w", t.from, err)
	}
	if err != nil {
		t.fault(at, c, err)
		return
	}
	t.directories[at] = size
	parts := layout.IsPartsDir(at)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		below := path.Join(at, name)
		switch t.paths++; {
		case t.ctx.Err() != nil:
			return
		case t.paths > maxPaths:
			t.fault(at, c, fmt.Errorf("more than %d files and directories", maxPaths))
			return
		case strings.Contains(name, "/") || name == "" || name == "." || name == "..":
			t.fault(at, c, fmt.Errorf("%q is no name", name))
		case len(below) > maxPath:
			t.fault(at, c, fmt.Errorf("what is below has a path longer than %d characters", maxPath))
		case parts:
			t.entries[below] = entries[name].CID
		case t.what.LeadsTo(below):
			t.directory(below, entries[name].CID)
		}
	}
}

// start follows what is meant, as far as manifests lead.
func (t *treeCheck) start() {
	from := slices.Sorted(maps.Keys(t.entries))
	if t.what.Reference != "" {
		img, err := t.what.Image(t.ctx, t.from, t.root)
		if err != nil {
			t.fault("", cid.Undef, err)
			return
		}
		from = t.pathsOf(img.Name, t.what.Reference, img.Digest.String())
	}
	for _, p := range from {
		t.follow(p)
	}
}

// pathsOf returns where a manifest is that goes by the given tags and digests,
// or by the names of one that goes by none.
func (t *treeCheck) pathsOf(name string, references ...string) []string {
	var paths []string
	for _, r := range references {
		if p := layout.ManifestPath(name, r); t.entries[p].Defined() {
			paths = append(paths, p)
		}
	}
	if latest := layout.LatestNames(layout.DockerManifest); len(paths) == 0 && !slices.Equal(references, latest) {
		return t.pathsOf(name, latest...)
	}
	return paths
}

// follow reads a manifest and goes on to what it names, and notes any other file
// to be read later.
func (t *treeCheck) follow(p string) {
	c, there := t.entries[p]
	if !there || t.reached[p] || t.ctx.Err() != nil {
		return
	}
	t.reached[p] = true
	switch _, part, _ := layout.Split(p); part {
	case layout.Document, layout.About:
		t.manifest(p, c)
	default:
		t.content(p, c)
	}
	for _, next := range t.leadsTo(p) {
		t.follow(next)
	}
}

func (t *treeCheck) content(p string, c cid.Cid) {
	f, known := t.contents[c.KeyString()]
	if !known {
		file, err := t.file(c)
		if err != nil {
			t.fault(p, c, err)
		} else {
			f = newStoredFile(file)
		}
		t.contents[c.KeyString()] = f
	}
	if f == nil {
		return
	}
	f.paths = append(f.paths, p)
	_, part, name := layout.Split(p)
	if part != layout.Content {
		return
	}
	d, err := layout.ParseDigest(name)
	if err != nil {
		t.fault(p, c, fmt.Errorf("no blob is called so: %w", err))
		return
	}
	f.outside[d.Algorithm()] = true
}

// file reads the nodes of a file.
func (t *treeCheck) file(c cid.Cid) (*unixfs.File, error) {
	f, err := t.from.File(t.ctx, c)
	if err != nil {
		return nil, err
	}
	return f, t.from.Check(f)
}

// document reads a small file, of which it returns nil where that fails.
func (t *treeCheck) document(p string, c cid.Cid) *checkedDocument {
	d, known := t.documents[c.KeyString()]
	if !known {
		var err error
		if d, err = t.read(c); err != nil {
			t.fault(p, c, err)
		}
		t.documents[c.KeyString()] = d
	}
	return d
}

func (t *treeCheck) read(c cid.Cid) (*checkedDocument, error) {
	f, err := t.file(c)
	if err != nil {
		return nil, err
	}
	if f.Table.Size() > layout.MaxManifest {
		return nil, fmt.Errorf("it has %d bytes, and a manifest at most %d", f.Table.Size(), layout.MaxManifest)
	}
	r, err := t.from.Open(t.ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return &checkedDocument{data, sizeOf(f)}, nil
}

// sizeOf returns how many blocks a file has, and their bytes, but for what is
// around its own.
func sizeOf(f *unixfs.File) Size {
	s := Size{len(f.Nodes) + len(f.Table.Leaves), f.Table.Size()}
	for _, nd := range f.Nodes {
		s.Bytes += int64(len(nd.Data))
	}
	return s
}

// images returns what was verified, by image.
func (t *treeCheck) images() *Verified {
	images, err := t.what.Images(t.ctx, t.from, t.root)
	if err != nil {
		t.fault("", cid.Undef, err)
		return nil
	}
	v := &Verified{Listing: tree.Listing{Root: t.root, Latest: map[string]digest.Digest{}}}
	for _, img := range images {
		v.Images = append(v.Images, tree.Image{Name: img.Name, Tag: img.Tag, MediaType: img.MediaType, Digest: img.Digest})
		v.Sizes = append(v.Sizes, t.size(img.Name, img.Tag, img.Digest.String()))
		latest, there := t.manifests[layout.ManifestPath(img.Name, layout.Latest)]
		if there && latest.Digest == img.Digest {
			v.Latest[img.Name] = img.Digest
		}
	}
	return v
}

// size adds up the files that a manifest leads to and the directories above.
func (t *treeCheck) size(name, tag, digest string) Size {
	var size Size
	for dir, of := range t.directories {
		if (origin.Selection{Name: name, Reference: digest}).LeadsTo(dir) {
			size.add(of)
		}
	}
	counted := map[string]bool{} // by CID
	todo := t.pathsOf(name, tag, digest)
	for seen := map[string]bool{}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[p] {
			continue
		}
		seen[p] = true
		todo = append(todo, t.leadsTo(p)...)
		c, there := t.entries[p]
		if key := c.KeyString(); there && !counted[key] {
			counted[key] = true
			if d := t.documents[key]; d != nil {
				size.add(d.size)
			} else if f := t.contents[key]; f != nil {
				size.add(sizeOf(f.File))
			}
		}
	}
	return size
}
