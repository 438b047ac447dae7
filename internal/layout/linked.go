package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A linked is an image without a directory: every descriptor has a URL with the CID of its
// content. The root of nerdctl and stargz-snapshotter is a descriptor, that of gantry the
// manifest itself.
//
// Links are learned as manifests are read. A pull begins with manifests, so none is read
// only for its links.
type linked struct {
	top digest.Digest

	mu        sync.Mutex
	known     map[digest.Digest]cid.Cid
	unread    []digest.Digest // manifests and indexes, in the order in which they were found
	documents int             // how many of these there were
	searched  int             // bytes of those that were read to find blobs
}

const (
	// maxLinks is how many parts of one image are remembered.
	maxLinks = 2048

	// maxDocuments is how many manifests and indexes of one image are read at most to
	// find a blob.
	maxDocuments = 128

	// maxDocumentBytes is how many bytes these have at most.
	maxDocumentBytes = 16 << 20
)

func detectLinked(ctx context.Context, tree Tree, root cid.Cid) (shape, error) {
	data, err := tree.ReadFile(ctx, root, "", MaxManifest)
	if errors.Is(err, unixfs.ErrTooLarge) {
		return nil, unknownForm("there is a large file")
	}
	if err != nil {
		return nil, err
	}
	f := &linked{known: map[digest.Digest]cid.Cid{}}
	var top v1.Descriptor
	if err := json.Unmarshal(data, &top); err == nil && top.Digest.Validate() == nil {
		f.top = top.Digest
		if f.add(top); len(f.known) == 0 {
			return nil, unknownForm("there is the descriptor of an image that is not on IPFS")
		}
		return f, nil
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, unknownForm("there is a file that does not describe an image")
	}
	f.top, f.known[m.Digest] = m.Digest, root
	return f, f.learn(m)
}

// Manifest implements shape.
func (f *linked) Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	d := f.top
	switch {
	case IsDigest(reference):
		d = digest.Digest(reference)
	case reference != Latest:
		return Manifest{}, fmt.Errorf("an image without a directory has no tag but %s: %w", Latest, fs.ErrNotExist)
	}
	at, err := f.Blob(ctx, tree, d)
	if err != nil {
		return Manifest{}, err
	}
	m, err := readAs(ctx, tree, at, d)
	if err != nil {
		return Manifest{}, err
	}
	return m, f.learn(m)
}

// Blob implements shape. It reads manifests that were not read yet until one of them has a
// link to the blob.
func (f *linked) Blob(ctx context.Context, tree Tree, d digest.Digest) (Place, error) {
	for {
		at, next, err := f.lookUp(d)
		if next == "" || err != nil {
			return at, err
		}
		m, err := readAs(ctx, tree, at, next)
		if errors.Is(err, errNotManifest) || errors.Is(err, ErrDigest) {
			m, err = Manifest{Digest: next, Data: []byte("{}")}, nil // it leads nowhere
		}
		if err == nil {
			err = f.learn(m)
		}
		if err != nil {
			return Place{}, err
		}
		f.noteSearched(len(m.Data))
	}
}

// noteSearched counts bytes that were read to find a blob, and ends the search for all blobs
// after too many.
func (f *linked) noteSearched(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.searched += n; f.searched > maxDocumentBytes {
		f.unread = nil
	}
}

// lookUp returns the place of a blob, or else the place and digest of a manifest that may
// have a link to it.
func (f *linked) lookUp(d digest.Digest) (at Place, next digest.Digest, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.known[d]; ok {
		return Place{Root: c}, "", nil
	}
	if len(f.unread) == 0 {
		return Place{}, "", fmt.Errorf("no descriptor of the image leads to %s: %w", d, fs.ErrNotExist)
	}
	return Place{Root: f.known[f.unread[0]]}, f.unread[0], nil
}

// learn remembers the links of a manifest.
func (f *linked) learn(m Manifest) error {
	leads, err := parseDocument(m.Data)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unread = slices.DeleteFunc(f.unread, func(d digest.Digest) bool { return d == m.Digest })
	if leads.Config != nil {
		f.add(*leads.Config)
	}
	for _, d := range slices.Concat(leads.Manifests, leads.Layers, leads.Blobs) {
		f.add(d)
	}
	return nil
}

// add remembers the link of a descriptor, if it has one to IPFS. The caller holds mu.
func (f *linked) add(d v1.Descriptor) {
	c, ok := linkOf(d)
	if _, known := f.known[d.Digest]; known || !ok || len(f.known) == maxLinks {
		return
	}
	f.known[d.Digest] = c
	if f.documents < maxDocuments && f.searched <= maxDocumentBytes && IsManifestType(d.MediaType) {
		f.documents++
		f.unread = append(f.unread, d.Digest)
	}
}

// linkOf returns the CID in the first URL of a descriptor that is on IPFS. gantry writes the
// CID alone.
func linkOf(d v1.Descriptor) (cid.Cid, bool) {
	for _, u := range d.URLs {
		c, err := cidname.ParseAny(strings.TrimPrefix(u, "ipfs://"))
		if err == nil {
			return cid.NewCidV1(c.Type(), c.Hash()), true
		}
	}
	return cid.Undef, false
}

// Tags implements shape.
func (f *linked) Tags(context.Context, Tree) ([]string, error) { return []string{Latest}, nil }
