// Package store keeps images on disk: the converter's default destination and
// what the registry serves without any IPFS node.
//
//	blobs/sha256/<hex>   blobs, as plain files: an OCI layout's own shape
//	nodes/<xx>/<cid>     directory and file nodes, and small files
//	files/<cid>          which blob a file's CID is, and its leaf table
//	images/<cid>.json    what was converted, for people
//	tmp/                 what is not complete
//	cache/               what was only fetched from gateways, in the same shape
//	names/               what IPNS keys stood for last; internal/names' alone
//	lock, gate           who adds and who removes wait for one another here
//
// CIDs are written as CIDv1 in base32, and <xx> is the next-to-last two
// characters of one.
//
// A file appears under its final name only when it is complete and synced, so
// readers need no lock, several processes may share the directory, and a crash
// leaves rubbish in tmp and nowhere else. An import that fails while it commits,
// as on a full disk, may leave whole blobs that no image names yet; Collect
// removes them. Nothing is ever changed in place.
//
// Whoever adds holds a shared lock from the first thing that it puts in place, or
// relies on, until its record is synced. Whoever removes holds the lock alone.
// Nobody holds it for longer than a commit or a collection takes.
//
// What was converted is kept, and what is in the cache may be gone at any moment:
// where a thing is says which it is. So no image depends on the cache, and none
// is damaged by what the cache lacks. See Cache.
//
// Files are readable by everybody: who serves is seldom the user who converts.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Store is a directory of images. Its methods may be called concurrently.
type Store struct {
	shelf        // of what is kept
	cached shelf // of what may be forgotten
}

// Open returns the store in dir, which need not exist before something is
// written to it.
func Open(dir string) *Store { return &Store{shelf{dir}, shelf{filepath.Join(dir, "cache")}} }

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

const systemDir = "/var/lib/ipfs-registry"

// DefaultDir returns the directory to use when none was named:
// /var/lib/ipfs-registry for root and wherever that exists, otherwise
// ipfs-registry in the user's data directory (XDG_DATA_HOME, ~/.local/share).
func DefaultDir() (string, error) {
	if info, err := os.Stat(systemDir); os.Geteuid() == 0 || err == nil && info.IsDir() {
		return systemDir, nil
	}
	return userDir()
}

// DefaultDirs returns every directory that DefaultDir may return to somebody
// with this home, now or later: where to look for images.
func DefaultDirs() []string {
	dirs := []string{systemDir}
	if dir, err := userDir(); err == nil {
		dirs = append(dirs, dir)
	}
	return dirs
}

func userDir() (string, error) {
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "ipfs-registry"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding a directory for the store: %w", err)
	}
	return filepath.Join(home, ".local", "share", "ipfs-registry"), nil
}

// A File is an open file of the store. Closing it is the caller's.
type File struct {
	*os.File
	CID    cid.Cid
	Digest digest.Digest
	Size   int64 // bytes
}

// Open opens the blob at the slash-separated path below root. Where the store
// does not have it, the error is fs.ErrNotExist.
func (s *Store) Open(ctx context.Context, root cid.Cid, path string) (*File, error) {
	c, err := unixfs.Walk(ctx, s.node, root, path)
	if err != nil {
		return nil, err
	}
	return s.OpenFile(c)
}

// OpenFile opens the blob that is the file c, unverified. The error is ErrLacking
// if the store does not have it.
func (s *Store) OpenFile(c cid.Cid) (*File, error) {
	d, table, err := s.anyFile(c)
	if err != nil {
		return nil, err
	}
	f, err := s.OpenBlob(d, table.Size())
	if err != nil {
		return nil, err
	}
	return &File{f, c, d, table.Size()}, nil
}

// OpenBlob opens the blob that has a digest and size bytes, unverified. The error
// is ErrLacking if the store does not have it.
func (s *Store) OpenBlob(d digest.Digest, size int64) (*os.File, error) {
	f, err := openRegular(s.blobPath(d), size)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = openRegular(s.cached.blobPath(d), size); err == nil {
			touchFile(f)
		}
	}
	return f, lacking(err)
}

func openRegular(path string, size int64) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%s has %d bytes and should have %d: %w", path, info.Size(), size, ErrDamaged)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile returns the content of the file at the slash-separated path below
// root, of at most limit bytes. Where the store does not have it, the error is
// fs.ErrNotExist.
func (s *Store) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	c, err := unixfs.Walk(ctx, s.node, root, path)
	if err != nil {
		return nil, err
	}
	data, err := s.read(ctx, c, limit)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// ReadDir returns the entries of the directory at the slash-separated path below
// root by name, nil where there is a file. Where the store does not have it, the
// error is fs.ErrNotExist.
func (s *Store) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	entries, err := unixfs.ReadDir(ctx, s.node, root, path)
	if !errors.Is(err, fs.ErrNotExist) {
		return entries, err
	}
	c, walked := unixfs.Walk(ctx, s.node, root, path)
	if walked != nil {
		return nil, err
	}
	for _, sh := range []shelf{s.shelf, s.cached} {
		if _, statted := os.Stat(sh.filePath(c)); statted == nil {
			return nil, nil
		}
	}
	return nil, err
}

func (s *Store) read(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	f, err := s.OpenFile(c)
	if errors.Is(err, fs.ErrNotExist) {
		return s.readSmall(ctx, c, limit)
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

func (s *Store) readSmall(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	block, err := s.node(ctx, c)
	if err != nil {
		return nil, err
	}
	size, err := unixfs.FileSize(unixfs.Block{CID: c, Data: block})
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", size, limit, unixfs.ErrTooLarge)
	}
	data := make([]byte, 0, size)
	err = unixfs.Stream(ctx, s.node, c, 0, size, func(b []byte) error {
		data = append(data, b...)
		return nil
	})
	return data, err
}

// node is a unixfs.Getter.
func (s *Store) node(_ context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.readNode(c)
	if errors.Is(err, fs.ErrNotExist) {
		return s.cached.readVerified(c)
	}
	return data, err
}

// anyFile is file of what is kept or cached.
func (s *Store) anyFile(c cid.Cid) (digest.Digest, *unixfs.Table, error) {
	d, table, err := s.file(c)
	if errors.Is(err, fs.ErrNotExist) {
		if d, table, err = s.cached.file(c); err == nil {
			touch(s.cached.filePath(c))
		}
	}
	return d, table, err
}

func (s *Store) imagePath(root cid.Cid) string {
	return filepath.Join(s.images(), key(root)+".json")
}

func (s *Store) images() string { return filepath.Join(s.dir, "images") }

// key is one name for both versions of a CID.
func key(c cid.Cid) string { return cid.NewCidV1(c.Type(), c.Hash()).String() }

// parseKey reads the name of a file as key writes it.
func parseKey(name string) (cid.Cid, bool) {
	c, err := cid.Decode(name)
	return c, err == nil && key(c) == name
}
