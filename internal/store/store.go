// Package store keeps images on disk: the converter's default destination and
// what the registry serves without any IPFS node.
//
//	blobs/sha256/<hex>   blobs, as plain files: an OCI layout's own shape
//	nodes/<xx>/<cid>     directory and file nodes, and small files
//	files/<cid>          which blob a file's CID is, and its leaf table
//	images/<cid>.json    what was converted, for people
//	tmp/                 what is not complete
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
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Store is a directory of images. Its methods may be called concurrently.
type Store struct{ dir string }

// Open returns the store in dir, which need not exist before something is
// written to it.
func Open(dir string) *Store { return &Store{dir} }

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
	return s.open(c)
}

func (s *Store) open(c cid.Cid) (*File, error) {
	d, table, err := s.file(c)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != table.Size() {
		err = fmt.Errorf("%s has %d bytes and should have %d: %w", f.Name(), info.Size(), table.Size(), ErrDamaged)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{f, c, d, info.Size()}, nil
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
	if _, statted := os.Stat(s.filePath(c)); statted != nil {
		return nil, err
	}
	return nil, nil
}

func (s *Store) read(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	f, err := s.open(c)
	if errors.Is(err, fs.ErrNotExist) {
		return s.readSmall(ctx, c, limit)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", f.Size, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func (s *Store) readSmall(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	block, err := s.node(ctx, c)
	if err != nil {
		return nil, err
	}
	data, err := unixfs.SmallFile(unixfs.Block{CID: c, Data: block})
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), limit)
	}
	return data, nil
}

// node is a unixfs.Getter.
func (s *Store) node(_ context.Context, c cid.Cid) ([]byte, error) { return s.readNode(c) }

func (s *Store) readNode(c cid.Cid) ([]byte, error) {
	return readFile(s.nodePath(c), unixfs.MaxBlock)
}

// maxTable is the most bytes of a leaf table on disk: a blob of half a terabyte
// in leaves of 64 KiB.
const maxTable = 256 << 20

// file reads which blob a file's CID is, and the leaves of which its DAG is
// made: a line with the digest, then the table.
func (s *Store) file(c cid.Cid) (digest.Digest, *unixfs.Table, error) {
	path := s.filePath(c)
	record, err := readFile(path, maxTable)
	if err != nil {
		return "", nil, err
	}
	line, leaves, _ := strings.Cut(string(record), "\n")
	d, err := digest.Parse(line)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	t := new(unixfs.Table)
	if err := t.UnmarshalBinary([]byte(leaves)); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, t, nil
}

func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.dir, "blobs", d.Algorithm().String(), d.Encoded())
}

func (s *Store) nodePath(c cid.Cid) string {
	name := key(c)
	return filepath.Join(s.dir, "nodes", shardOf(name), name)
}

func shardOf(name string) string { return name[len(name)-3 : len(name)-1] }

func (s *Store) filePath(c cid.Cid) string {
	return filepath.Join(s.dir, "files", key(c))
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
