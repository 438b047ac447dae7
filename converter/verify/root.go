package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	maxPaths = 1 << 18 // files and directories below a root

	// maxPath is how many characters the path of a file may have. Those of images
	// have fewer than 400.
	maxPath = 1 << 10
)

// A rootCheck is everything below one root that is verified. list finds its files, follow
// finds out which of them belong to the selected images, a blobReader reads these,
// and compare compares them with one another.
type rootCheck struct {
	from      origin.Origin
	root      cid.Cid
	selection origin.Selection
	report    func(Fault)

	paths       int
	directories map[string]Size    // by path
	entries     map[string]cid.Cid // files by path, also of images that are not selected

	manifests map[string]*checkedManifest // by path, with indexes of referrers
	documents map[string]*checkedManifest // the same by CID; nil if it cannot be read
	memory    int                         // that manifests and configs take
	contents  map[string]*storedFile      // other files by CID; nil if it cannot be read
	reached   map[string]bool             // paths
	expanded  map[string]bool             // manifests whose leadsTo was followed, by manifestKey
	sizes     map[string]Size             // that sizeRead has added up, by the CIDs at which it began
	steps     int                         // of sizeRead
	byDiffID  map[string]bool             // paths of layers that have the digest of their content
}

// A checkedManifest is a manifest or index.
type checkedManifest struct {
	*manifest.Node
	cid  cid.Cid
	read Size
}

// A storedFile is a config, a layer or another blob, and what has to be known of it.
type storedFile struct {
	cid   cid.Cid
	size  int64
	read  Size
	paths []string

	outside map[digest.Algorithm]bool // digests of the file
	inside  map[digest.Algorithm]bool // digests of what it decompresses to
	config  bool                      // its content

	parsed struct { // the config, where isRead
		isRead bool
		config *manifest.Config
		err    error
	}

	*blobReport // after it was read
}

// A blobReport is what reading a file showed.
type blobReport struct {
	err     error // why it cannot be read
	digests map[digest.Algorithm]digest.Digest
	data    []byte // of a config

	encoding blob.Encoding
	diffIDs  map[digest.Algorithm]digest.Digest
	broken   error // why it cannot be decompressed
}

// A Size is how much was read of an image.
type Size struct {
	Blocks int
	Bytes  int64
}

func (s *Size) add(other Size) {
	s.Blocks += other.Blocks
	s.Bytes += other.Bytes
}

// Verified is what was found right.
type Verified struct {
	tree.Listing
	Sizes []Size // by index of Listing.Images
}

// sizeOf returns how many blocks a file has and their bytes, except the wrapping of
// leaves.
func sizeOf(f *unixfs.File) Size {
	s := Size{len(f.Nodes) + len(f.Table.Leaves), f.Table.Size()}
	for _, nd := range f.Nodes {
		s.Bytes += int64(len(nd.Data))
	}
	return s
}

func newRootCheck(from origin.Origin, root cid.Cid, s origin.Selection, report func(Fault)) *rootCheck {
	return &rootCheck{
		from: from, root: root, selection: s, report: report,
		directories: map[string]Size{},
		entries:     map[string]cid.Cid{},
		manifests:   map[string]*checkedManifest{},
		documents:   map[string]*checkedManifest{},
		contents:    map[string]*storedFile{},
		reached:     map[string]bool{},
		expanded:    map[string]bool{},
		sizes:       map[string]Size{},
		byDiffID:    map[string]bool{},
	}
}

// fault reports what is wrong at a path, where there is c or, if c is undefined,
// nothing.
func (t *rootCheck) fault(at string, c cid.Cid, err error) { t.report(Fault{t.root, at, c, err}) }

func wrongDigest(got digest.Digest) error { return fmt.Errorf("%w: that is %s", layout.ErrDigest, got) }

// hold counts bytes of memory that manifests and configs take until the end.
func (t *rootCheck) hold(n int64) error {
	if t.memory += int(n); t.memory > manifest.MaxMemory {
		return fmt.Errorf("the manifests and configs of this root take more than %d bytes of memory", manifest.MaxMemory)
	}
	return nil
}

// list lists the directories that lead to the selected images.
func (t *rootCheck) list(ctx context.Context) { t.listDir(ctx, "", t.root) }

func (t *rootCheck) listDir(ctx context.Context, at string, c cid.Cid) {
	var size Size
	entries, err := unixfs.List(ctx, func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := t.from.Block(ctx, c)
		size.add(Size{1, int64(len(data))})
		return data, err
	}, c)
	if errors.Is(err, unixfs.ErrNotDirectory) && at != "" {
		t.entries[at] = c
		return
	}
	switch {
	case errors.Is(err, unixfs.ErrNotDirectory):
		err = t.notDirectory(ctx)
	case at == "" && errors.Is(err, fs.ErrNotExist):
		if missing := t.from.Require(ctx, c); missing != nil {
			err = fmt.Errorf("it is not in %s", t.from)
		}
	}
	if err != nil {
		t.fault(at, c, err)
		return
	}
	t.directories[at] = size
	isParts := layout.IsPartsDir(at)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		below := path.Join(at, name)
		switch t.paths++; {
		case ctx.Err() != nil:
			return
		case t.paths > maxPaths:
			t.fault(at, c, fmt.Errorf("there are more than %d files and directories", maxPaths))
			return
		case strings.Contains(name, "/") || name == "" || name == "." || name == "..":
			t.fault(at, c, fmt.Errorf("%q is not a file name", name))
		case len(below) > maxPath:
			t.fault(at, c, fmt.Errorf("it has a file whose path is longer than %d characters", maxPath))
		case isParts:
			t.entries[below] = entries[name].CID
		case t.selection.LeadsTo(below):
			t.listDir(ctx, below, entries[name].CID)
		}
	}
}

// notDirectory returns the error for a root that is a file.
func (t *rootCheck) notDirectory(ctx context.Context) error {
	if _, err := layout.Detect(ctx, t.from, layout.Image{Root: t.root}); err == nil {
		return origin.ErrForeign
	}
	return fmt.Errorf("it is a file in %s, and an image is a directory", t.from)
}
