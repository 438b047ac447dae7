package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A File is an open file of the store. The caller closes it.
type File struct {
	*os.File
	CID    cid.Cid
	Digest digest.Digest
	Size   int64 // bytes
	store  *Store
}

// HasDigest reports whether the file has the digest d. If the algorithm of d is not
// that of Digest, HasDigest reads the whole file, or until ctx is done, and remembers
// the result. It moves the offset of the file.
func (f *File) HasDigest(ctx context.Context, d digest.Digest) (bool, error) {
	if d.Algorithm() == f.Digest.Algorithm() {
		return f.Digest == d, nil
	}
	key := digestKey{f.CID, d.Algorithm()}
	if known, ok := f.store.digests.Get(key); ok {
		return known == d, nil
	}
	got, err := d.Algorithm().FromReader(slow{f, func(int) error { return context.Cause(ctx) }})
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	f.store.digests.Add(key, got)
	return got == d, nil
}

// Open opens the blob at the slash-separated path below root without verifying it. The
// error is fs.ErrNotExist if no such blob exists, and ErrLacking if the store does not
// have it.
func (s *Store) Open(ctx context.Context, root cid.Cid, path string) (*File, error) {
	c, err := s.walk(ctx, root, path)
	if err != nil {
		return nil, err
	}
	return s.OpenFile(c)
}

// OpenFile opens the blob that is the file c without verifying it. The error is
// ErrLacking if the store does not have it.
func (s *Store) OpenFile(c cid.Cid) (*File, error) {
	d, size, err := s.blobOf(c)
	if errors.Is(err, ErrLacking) {
		if d, size, err = s.cached.blobOf(c); err == nil {
			s.cached.touch(s.cached.filePath(c))
		}
	}
	if err != nil {
		return nil, err
	}
	f, err := s.OpenBlob(d, size)
	if err != nil {
		return nil, err
	}
	return &File{f, c, d, size, s}, nil
}

// OpenBlob opens the blob that has the digest d and size bytes without verifying it.
// The error is ErrLacking if the store does not have it. A cached blob is not evicted
// before it is closed.
func (s *Store) OpenBlob(d digest.Digest, size int64) (*os.File, error) {
	f, err := s.openSized(s.blobPath(d), size)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	path := s.cached.blobPath(d)
	if f, err = s.cached.openSized(path, size); err != nil {
		return nil, lacking(err)
	}
	markInUse(f)
	s.cached.touch(path)
	return f, nil
}

// ReadFile returns the content of the file at the slash-separated path below root.
// The error is fs.ErrNotExist if no such file exists, ErrLacking if the store does not
// have it, and unixfs.ErrTooLarge if it has more than limit bytes.
func (s *Store) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	c, err := s.walk(ctx, root, path)
	if err != nil {
		return nil, err
	}
	data, err := s.read(ctx, c, limit)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

func (s *Store) read(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	return s.readWith(ctx, s.node, c, limit)
}

// readWith reads a file that is a blob of the store, or else consists of nodes that get
// returns.
func (s *Store) readWith(ctx context.Context, get unixfs.Getter, c cid.Cid, limit int64) ([]byte, error) {
	f, err := s.OpenFile(c)
	if errors.Is(err, ErrLacking) {
		return unixfs.ReadAll(ctx, get, c, limit)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", f.Size, limit, unixfs.ErrTooLarge)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// ReadDir returns the entries of the directory at the slash-separated path below root
// by name, or nil if a file is at that path. The error is fs.ErrNotExist if the path
// does not exist, and ErrLacking if the store lacks a directory on the path.
func (s *Store) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	entries, err := unixfs.ReadDir(ctx, s.node, root, path)
	if !errors.Is(err, fs.ErrNotExist) {
		return entries, err
	}
	c, walked := s.walk(ctx, root, path)
	if walked != nil {
		return nil, walked
	}
	if s.exists(s.filePath(c)) || s.cached.exists(s.cached.filePath(c)) {
		return nil, nil
	}
	return nil, err
}

// Trail returns the CIDs on the slash-separated path below root, ending with the CID
// at the path itself. The error is fs.ErrNotExist if the path does not exist, and
// ErrLacking if the store lacks a directory on the path.
func (s *Store) Trail(ctx context.Context, root cid.Cid, path string) ([]cid.Cid, error) {
	trail, err := unixfs.Trail(ctx, s.node, root, path)
	return trail, s.proved(ctx, root, path, err)
}

// walk returns the CID at the end of the slash-separated path below root.
func (s *Store) walk(ctx context.Context, root cid.Cid, path string) (cid.Cid, error) {
	c, err := unixfs.Walk(ctx, s.node, root, path)
	return c, s.proved(ctx, root, path, err)
}

// proved returns the error of a walk. If the error says that the path does not exist,
// proved walks again and verifies the directories: kept directories are read without
// verifying them, and one that has rotted proves no absence.
func (s *Store) proved(ctx context.Context, root cid.Cid, path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLacking) {
		return err
	}
	_, again := unixfs.Walk(ctx, func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := s.node(ctx, c)
		if err == nil && (unixfs.Block{CID: c, Data: data}).Verify() != nil {
			err = fmt.Errorf("%s is %w: its bytes do not have the hash in its name", s.nodePath(c), ErrDamaged)
		}
		return data, err
	}, root, path)
	return cmp.Or(again, err)
}

// Size returns the total size in bytes of the blocks at the slash-separated path below
// root. As IPFS counts, a block that occurs twice counts twice.
func (s *Store) Size(ctx context.Context, root cid.Cid, path string) (uint64, error) {
	c, err := unixfs.Walk(ctx, s.node, root, path)
	if err != nil {
		return 0, err
	}
	data, err := s.node(ctx, c)
	if err != nil {
		return 0, err
	}
	children, _, err := unixfs.Children(unixfs.Block{CID: c, Data: data})
	size := uint64(len(data))
	for _, child := range children {
		size += child.Size
	}
	return size, err
}

// Block returns a block without verifying it: a directory, a node of a file, a small
// file, or a blob that is one block. The error is ErrLacking if the store does not have
// it. A leaf that is part of a blob is lacking as a block.
func (s *Store) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.node(ctx, c)
	if !errors.Is(err, ErrLacking) {
		return data, err
	}
	d, table, err := s.anyFile(c)
	if err != nil {
		return nil, err
	}
	if len(table.Leaves) != 1 {
		return nil, fmt.Errorf("block %s is a node of a blob: %w", c, ErrLacking)
	}
	f, err := s.OpenBlob(d, table.Size())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	leaf := make([]byte, table.Size())
	if _, err := f.ReadAt(leaf, 0); err != nil {
		return nil, err
	}
	return table.Block(0, leaf).Data, nil
}
