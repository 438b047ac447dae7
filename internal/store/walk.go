package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A walk follows DAGs from their roots to the blobs, and checks that everything is
// kept: that each node has the bytes for its CID, each leaf table the leaves in the
// file's nodes, and each blob its size. It remembers the CIDs and blobs that it found.
type walk struct {
	store   *Store
	entries map[nodeKey]struct{} // entries of directories that were walked to their leaves
	inner   map[nodeKey]struct{} // nodes inside files, which may be files of their own as well
	blobs   map[digest.Digest]struct{}

	found func(path string) error // called for every file of the store
}

// A nodeKey stands for a CID: a sha2-256 digest and a codec, since the same bytes can be
// a directory and a raw file. Memory for these keys is the only bound on the number of
// images in a store.
type nodeKey [sha256.Size + 1]byte

func keyOf(c cid.Cid) nodeKey {
	p := c.Prefix()
	if p.MhType != mh.SHA2_256 || p.MhLength != sha256.Size || p.Codec != cid.Raw && p.Codec != cid.DagProtobuf {
		return makeKey(sha256.Sum256([]byte(key(c))), 0)
	}
	hash := c.Hash()
	return makeKey([sha256.Size]byte(hash[len(hash)-sha256.Size:]), byte(p.Codec))
}

func makeKey(digest [sha256.Size]byte, codec byte) (k nodeKey) {
	copy(k[:], digest[:])
	k[sha256.Size] = codec
	return k
}

func leafKey(t *unixfs.Table, i int) nodeKey {
	if t.Wrapped {
		return makeKey(t.Leaves[i].Digest, cid.DagProtobuf)
	}
	return makeKey(t.Leaves[i].Digest, cid.Raw)
}

func (s *Store) newWalk() *walk {
	return &walk{
		store:   s,
		entries: map[nodeKey]struct{}{},
		inner:   map[nodeKey]struct{}{},
		blobs:   map[digest.Digest]struct{}{},
		found:   func(string) error { return nil },
	}
}

// has reports whether the walk found a CID.
func (w *walk) has(c cid.Cid) bool {
	k := keyOf(c)
	_, entry := w.entries[k]
	_, inner := w.inner[k]
	return entry || inner
}

// follow walks everything below root that was not walked before. After an error, the
// walk is incomplete and must not be used.
func (w *walk) follow(ctx context.Context, root cid.Cid) error {
	todo := []cid.Cid{root}
	for len(todo) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, done := w.entries[keyOf(c)]; done {
			continue
		}
		below, err := w.entry(c)
		if err != nil {
			return err
		}
		w.entries[keyOf(c)] = struct{}{}
		for _, e := range below {
			todo = append(todo, e.CID)
		}
	}
	return nil
}

// entry walks a file, or returns the entries of a directory.
func (w *walk) entry(c cid.Cid) ([]unixfs.Node, error) {
	d, table, noFile := w.store.file(c)
	if noFile == nil {
		noFile = w.file(c, d, table)
	}
	if noFile == nil || !errors.Is(noFile, ErrLacking) {
		return nil, noFile
	}
	children, directory, err := w.node(c)
	switch {
	case errors.Is(err, ErrLacking) && table != nil: // a file whose blob is missing
		return nil, noFile
	case err == nil && !directory && len(children) > 0: // a file whose record is missing
		return nil, noFile
	}
	return children, err
}

// file follows the nodes of a file to its leaves, and checks that they are the leaves
// in its table, in the same order.
func (w *walk) file(c cid.Cid, d digest.Digest, table *unixfs.Table) error {
	path := w.store.filePath(c)
	if err := w.found(path); err != nil {
		return err
	}
	leaf := 0
	for todo := []cid.Cid{c}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if leaf < len(table.Leaves) && leafKey(table, leaf) == keyOf(at) {
			leaf++
			continue
		}
		children, directory, err := w.node(at)
		if err != nil {
			return err
		}
		if directory || len(children) == 0 {
			return fmt.Errorf("%s is %w: it does not have the leaf %s", path, ErrDamaged, at)
		}
		w.inner[keyOf(at)] = struct{}{}
		for _, child := range slices.Backward(children) {
			todo = append(todo, child.CID)
		}
	}
	if leaf < len(table.Leaves) {
		return fmt.Errorf("%s is %w: it has %d leaves and should have %d", path, ErrDamaged, len(table.Leaves), leaf)
	}
	return w.blob(d, table.Size())
}

func (w *walk) blob(d digest.Digest, size int64) error {
	path := w.store.blobPath(d)
	info, err := w.store.lstat(path)
	if err != nil {
		return lacking(err)
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return fmt.Errorf("%s is %w: it has %d bytes and should have %d", path, ErrDamaged, info.Size(), size)
	}
	w.blobs[d] = struct{}{}
	return w.found(path)
}

// node reads a directory, a node of a file, or a small file.
func (w *walk) node(c cid.Cid) (children []unixfs.Node, directory bool, err error) {
	path := w.store.nodePath(c)
	data, err := w.store.readNode(c)
	if err != nil {
		return nil, false, err
	}
	if sum, err := c.Prefix().Sum(data); err != nil || !sum.Equals(c) {
		return nil, false, fmt.Errorf("%s is %w: its bytes do not have the hash in its name", path, ErrDamaged)
	}
	if err := w.found(path); err != nil {
		return nil, false, err
	}
	return unixfs.Children(unixfs.Block{CID: c, Data: data})
}
