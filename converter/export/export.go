// Package export makes archives of images that are on IPFS, for programs that ask
// no registry: the way back of what package converter does.
package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Options say which of a root's images are exported. Their zero value is
// all of them, for all platforms.
type Options struct {
	// Name is what the images are called. Default: anything.
	Name string

	// Reference is the tag or digest of one. Default: all.
	Reference string

	// Platform has an index stand for the one image in it that is for that
	// platform. Default: the index, and all that it names.
	Platform *platform.Platform

	// Logf reports what is left out, a line a call. Default: nobody is told.
	Logf func(format string, args ...any)
}

// Images writes images that are on IPFS to w as one archive, for programs that
// ask no registry: an OCI layout, and Docker's own list of images beside it, over
// the blobs as they are stored. The same images give the same bytes.
//
// Every manifest and config is read and checked before anything is written. A
// blob is checked as it goes out, leaf by leaf, so that no wrong byte does; what
// names the blobs stands behind them, so nobody takes an archive that ends at a
// wrong one for an image.
func Images(ctx context.Context, from origin.Origin, root cid.Cid, w io.Writer, o Options) error {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	e := &exporter{
		Options: o, ctx: ctx, from: from, root: root,
		dirs:      map[string]*imageDir{},
		there:     map[digest.Digest]int64{},
		platforms: map[digest.Digest][]dockerImage{},
		listed:    map[digest.Digest]bool{},
	}
	if _, err := from.Block(ctx, root); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not in %s", e, from)
	}
	images, err := e.images()
	if err != nil {
		return err
	}
	for _, img := range images {
		if err := e.add(img); err != nil {
			return fmt.Errorf("%s: %w", e.call(img), err)
		}
	}
	return e.write(w)
}

// An export is an archive that is to be written.
type exporter struct {
	Options
	ctx  context.Context
	from origin.Origin
	root cid.Cid
	dirs map[string]*imageDir

	documents []exportedDocument
	blobs     []exportedBlob
	there     map[digest.Digest]int64 // sizes of both
	bytes     int                     // of documents
	leaves    int                     // of blobs, as far as they are kept

	index     v1.Index
	listed    map[digest.Digest]bool // in the index
	docker    []ocilayout.DockerEntry
	platforms map[digest.Digest][]dockerImage // that a manifest or index stands for
}

// String returns the root as people know it.
func (e *exporter) String() string { return origin.Address(e.root) }

// An exportedDocument is a manifest or config, checked.
type exportedDocument struct {
	digest digest.Digest
	data   []byte
}

// An exportedBlob is a layer, or anything else that is written as it is read.
type exportedBlob struct {
	digest digest.Digest
	file   unixfs.File // without nodes and leaves, where there were too many to keep
	size   int64
}

// images returns the images that are wanted.
func (e *exporter) images() ([]origin.Image, error) {
	all, err := e.named()
	if err != nil {
		return nil, err
	}
	var wanted []origin.Image
	var there []string
	for _, img := range all {
		if e.Reference == "" || e.Reference == img.Tag || e.Reference == img.Digest.String() {
			wanted = append(wanted, img)
		}
		there = append(there, e.call(img))
	}
	if len(wanted) == 0 {
		wanted, err = e.untold(all)
	}
	switch {
	case len(wanted) > 0 || err != nil:
		return wanted, err
	case len(there) == 0:
		return nil, fmt.Errorf("there is no image %s in %s", e.Name, e)
	}
	return nil, fmt.Errorf("there is no image %s in %s: there is %s", e.call(origin.Image{Name: e.Name, Tag: e.Reference}), e, alternatives.List(there))
}

// named returns all images of the wanted name.
func (e *exporter) named() ([]origin.Image, error) {
	if e.Name == "" {
		return e.from.Images(e.ctx, e.root)
	}
	dir, found, err := e.lookup(e.Name)
	if !found {
		return nil, err
	}
	all, err := e.from.Images(e.ctx, dir)
	if err != nil {
		return nil, err
	}
	var images []origin.Image
	for _, img := range all {
		if img.Name == "" {
			img.Name = e.Name
			images = append(images, img)
		}
	}
	return images, nil
}

// untold returns what can be had, but is not listed as an image: an image of an
// index, by its digest, and one by an alias.
func (e *exporter) untold(all []origin.Image) ([]origin.Image, error) {
	files := []string{e.Reference}
	if e.Reference == "" || e.Reference == layout.Latest {
		files = layout.LatestNames(layout.DockerManifest)
	}
	names := map[string]bool{e.Name: true}
	for _, img := range all {
		names[img.Name] = true
	}
	var images []origin.Image
	for _, name := range slices.Sorted(maps.Keys(names)) {
		img, err := e.byFile(name, files)
		if err != nil {
			return nil, err
		}
		images = append(images, img...)
	}
	return images, nil
}

// byFile returns the image in the first of the files that a name's manifests
// have.
func (e *exporter) byFile(name string, files []string) ([]origin.Image, error) {
	dir, err := e.dir(name)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		node, there := dir.manifests[file]
		if !there {
			continue
		}
		data, err := e.from.Read(e.ctx, node.CID, layout.MaxManifest)
		if err != nil {
			return nil, err
		}
		m, err := layout.ParseManifest(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", layout.ManifestPath(name, file), err)
		}
		img := origin.Image{Name: name, Tag: layout.Latest, Manifest: m}
		if layout.IsDigest(file) {
			img.Tag, img.Digest = "", digest.Digest(file)
			err = checkDocument(data, v1.Descriptor{Digest: img.Digest, Size: int64(len(data))})
		}
		return []origin.Image{img}, err
	}
	return nil, nil
}

// call returns what to call an image, below the root.
func (e *exporter) call(img origin.Image) string {
	switch {
	case img.Tag == "" && img.Digest == "":
		return img.Name
	case img.Tag == "":
		return img.Name + "@" + img.Digest.String()
	case layout.IsDigest(img.Tag):
		return img.Name + "@" + img.Tag
	}
	return img.Name + ":" + img.Tag
}

// An imageDir is the directory of the images of one name.
type imageDir struct{ manifests, blobs, referrers map[string]unixfs.Node }

// dir lists the directory of a name. What is not in the lists is not there, and
// what cannot be read is an error.
func (e *exporter) dir(name string) (*imageDir, error) {
	if dir := e.dirs[name]; dir != nil {
		return dir, nil
	}
	dir := new(imageDir)
	for path, entries := range map[string]*map[string]unixfs.Node{
		layout.ManifestsDir(name): &dir.manifests,
		layout.BlobsDir(name):     &dir.blobs,
		layout.ReferrersDir(name): &dir.referrers,
	} {
		at, found, err := e.lookup(path)
		if err == nil && found {
			*entries, err = e.list(at)
		}
		if err != nil {
			return nil, err
		}
	}
	e.dirs[name] = dir
	return dir, nil
}

// lookup returns what is at a path below the root.
func (e *exporter) lookup(path string) (at cid.Cid, found bool, err error) {
	at = e.root
	for name := range strings.SplitSeq(path, "/") {
		entries, err := e.list(at)
		if err != nil {
			return cid.Undef, false, err
		}
		node, found := entries[name]
		if !found {
			return cid.Undef, false, nil
		}
		at = node.CID
	}
	return at, true, nil
}

// list returns the entries of a directory, of which a file has none.
func (e *exporter) list(dir cid.Cid) (map[string]unixfs.Node, error) {
	entries, err := e.from.List(e.ctx, dir)
	if errors.Is(err, unixfs.ErrNotDirectory) {
		return nil, nil
	}
	return entries, err
}
