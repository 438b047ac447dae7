package converter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Tree is the directory of a Result, complete but for being anywhere.
type Tree struct {
	Root   unixfs.Node
	Images []Image
	Kept   []Image // which the root had already that this one is put onto

	hadLatest []string // paths of dropped aliases

	// Files are all files, by slash-separated path. Aliases share a File.
	Files map[string]File

	// Directories are the blocks of all directories, children first.
	Directories []unixfs.Block
}

// A File of a tree is a blob, or small enough to be one block.
type File struct {
	Blob  *Blob
	Small unixfs.Block // where Blob is nil
	data  []byte       // what Small holds
}

func (f File) node() unixfs.Node {
	if f.Blob != nil {
		return f.Blob.File.Node
	}
	return unixfs.Node{CID: f.Small.CID, Size: uint64(len(f.Small.Data))}
}

func (f File) open(ctx context.Context) (io.ReadCloser, error) {
	if f.Blob == nil {
		return io.NopCloser(bytes.NewReader(f.data)), nil
	}
	return f.Blob.Open(ctx)
}

// read returns what the file holds, at most a manifest's length.
func (f File) read(ctx context.Context) ([]byte, error) {
	if f.Blob != nil && f.Blob.Size() > layout.MaxManifest {
		return nil, fmt.Errorf("longer than %d bytes", layout.MaxManifest)
	}
	r, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Blobs returns the tree's blobs, each once, in the order of their digests.
// One that was found with other leaves elsewhere is there with each of them, and
// one that a new image has as well as the base is the new one.
func (t *Tree) Blobs() []*Blob {
	blobs := map[string]*Blob{}
	for _, f := range t.Files {
		if f.Blob == nil {
			continue
		}
		id := f.Blob.Digest.String() + f.Blob.File.CID.String()
		if _, known := blobs[id]; !known || !f.Blob.ofBase {
			blobs[id] = f.Blob
		}
	}
	return inOrder(blobs)
}

// SmallFiles returns the blocks of the files that are no blobs, each once.
func (t *Tree) SmallFiles() []unixfs.Block {
	small := map[string]unixfs.Block{}
	for _, f := range t.Files {
		if f.Blob == nil {
			small[f.Small.CID.KeyString()] = f.Small
		}
	}
	return inOrder(small)
}

func inOrder[K ~string, V any](m map[K]V) []V {
	values := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[k])
	}
	return values
}

func newTree(images []*image, ws *workspace) (*Tree, error) {
	t := &Tree{Files: map[string]File{}}
	files := map[digest.Digest]File{}
	for _, img := range images {
		if err := t.add(img, files, ws); err != nil {
			return nil, err
		}
	}
	for name, of := range byName(images) {
		if err := t.addReferrers(name, of, ws); err != nil {
			return nil, err
		}
	}
	if ws.onto != nil {
		if err := t.putOnto(ws.onto, ws); err != nil {
			return nil, err
		}
	}
	t.alias()
	if ws.onto != nil {
		t.noteLatest(ws.onto, ws.logf)
	}
	return t, t.build(ws)
}

// build makes the directories.
func (t *Tree) build(ws *workspace) error {
	nodes := make(map[string]unixfs.Node, len(t.Files))
	for path, f := range t.Files {
		nodes[path] = f.node()
	}
	t.Directories = nil
	var err error
	t.Root, err = ws.profile.Tree(ws.ctx, nodes, func(b unixfs.Block) error {
		t.Directories = append(t.Directories, b)
		return nil
	})
	if err != nil {
		return fmt.Errorf("building the image's directory: %w", err)
	}
	return nil
}

// add puts an image where layout says. A manifest becomes a file once, however
// many names lead to it.
func (t *Tree) add(img *image, files map[digest.Digest]File, ws *workspace) error {
	for _, m := range img.manifests() {
		f, made := files[m.Digest]
		if !made {
			var err error
			if f, err = ws.file(m.Data); err != nil {
				return err
			}
			files[m.Digest] = f
		}
		t.Files[layout.ManifestPath(img.name, m.Digest.String())] = f
	}
	if img.tag != "" {
		t.Files[layout.ManifestPath(img.name, img.tag)] = t.manifest(img)
	}
	for name, b := range img.blobs {
		t.Files[layout.BlobPath(img.name, name)] = File{Blob: b}
	}
	t.Images = append(t.Images, Image{Name: img.name, Tag: img.tag, MediaType: img.top.MediaType, Digest: img.top.Digest})
	return nil
}

func (t *Tree) manifest(img *image) File {
	return t.Files[layout.ManifestPath(img.name, img.top.Digest.String())]
}

// alias gives a name's only manifest the name latest, and a Docker manifest of
// that name also the one by which image2ipfs servers look for it.
func (t *Tree) alias() {
	names := map[string][]Image{}
	for _, img := range append(slices.Clone(t.Images), t.Kept...) {
		names[img.Name] = append(names[img.Name], img)
	}
	for name, images := range names {
		latest := latestOf(images)
		if latest == nil {
			continue
		}
		f, found := t.Files[layout.ManifestPath(name, latest.Digest.String())]
		if !found { // in a layout that keeps manifests by tag only
			continue
		}
		for _, tag := range layout.LatestNames(latest.MediaType) {
			path := layout.ManifestPath(name, tag)
			if _, taken := t.Files[path]; !taken {
				t.Files[path] = f
			}
		}
	}
}

func (t *Tree) addReferrers(name string, images []*image, ws *workspace) error {
	indexes, err := referrerIndexes(images)
	if err != nil {
		return err
	}
	for subject, data := range indexes {
		f, err := ws.file(data)
		if err != nil {
			return err
		}
		t.Files[layout.ReferrersPath(name, subject)] = f
	}
	return nil
}

// latestOf returns the image with the tag latest, or the only one.
func latestOf(images []Image) *Image {
	for i, img := range images {
		if img.Tag == layout.Latest {
			return &images[i]
		}
	}
	for _, img := range images {
		if img.Digest != images[0].Digest {
			return nil
		}
	}
	return &images[0]
}

func byName(images []*image) map[string][]*image {
	names := map[string][]*image{}
	for _, img := range images {
		names[img.name] = append(names[img.name], img)
	}
	return names
}

// file makes a file of data: small, if one block can hold it.
func (ws *workspace) file(data []byte) (File, error) {
	if len(data) > ws.profile.LeafSize() {
		b, err := ws.keep(bytes.NewReader(data))
		return File{Blob: b}, err
	}
	table := ws.profile.NewTable()
	table.Add(data)
	return File{Small: table.Block(0, data), data: data}, nil
}
