// Package store keeps images on disk: the converter's default destination and
// what the registry serves without any IPFS node.
//
//	blobs/sha256/<hex>   blobs, as plain files: an OCI layout's own shape
//	nodes/<xx>/<cid>     directory and file nodes, and small files
//	files/<cid>          which blob a file's CID is, and its leaf table
//	images/<cid>.json    records of the converted images, for people
//	tmp/                 files that are not complete
//	cache/               blobs and nodes from gateways, in the same shape
//	names/               the newest IPNS records, kept by internal/names
//	root/                the store's own root, a directory of images that changes
//	lock, gate           locks that keep adding and removing apart
//
// CIDs are written as CIDv1 in base32. <xx> is the two characters before the last
// one of a CID.
//
// A file appears under its final name only when it is complete and synced, and is
// never changed afterwards. So readers need no lock, several processes may share the
// directory, and a crash leaves rubbish in tmp only. An import that fails while it
// commits, as on a full disk, may leave whole blobs that no image names; Collect
// removes them.
//
// An import holds a shared lock from its first rename until its record is synced. A
// process that removes something holds the lock alone. Neither holds it for longer
// than a commit or a collection takes.
//
// Converted images are kept. A cached file may be gone at any moment. The directory
// that a file is in says whether it is kept or cached, and no kept image depends on
// the cache. See Cache.
//
// A store belongs to the user who converts, and its cache to the user who serves.
// Neither follows a link out of the directories that the other could write to, and
// BeginImport, Collect and Remove refuse a store that belongs to neither root nor this
// user. A store with a root of its own belongs to one user, who alone writes to it. New
// files are as readable as the directory that they are in.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Store is a directory of images. Its methods may be called concurrently.
type Store struct {
	shelf        // kept files
	cached shelf // cached files

	root *Root

	digests *memo.Cache[digestKey, digest.Digest]
}

// Open returns the store in dir, which need not exist before something is
// written to it.
func Open(dir string) *Store {
	dir = filepath.Clean(dir) // so that it is found again above the paths in it
	s := &Store{shelf: shelf{dir}, cached: shelf{filepath.Join(dir, "cache")}, digests: newDigests()}
	s.root = &Root{store: s, now: time.Now}
	return s
}

// Exists reports whether the directory is a store: an import, a cache or a root has made it,
// or it is empty and can become one.
func (s *Store) Exists() bool {
	if dirExists(s.images()) || dirExists(s.root.dir()) || dirExists(s.cached.dir) || dirExists(s.tmp()) {
		return true
	}
	entries, err := os.ReadDir(s.dir)
	return err == nil && len(entries) == 0
}

// otherDigests is how many bytes of memory are for digests by algorithms other than
// the store's own.
const otherDigests = 1 << 20

// A digestKey is a file and an algorithm.
type digestKey struct {
	file      cid.Cid
	algorithm digest.Algorithm
}

func newDigests() *memo.Cache[digestKey, digest.Digest] {
	return memo.NewCache(otherDigests, func(k digestKey, d digest.Digest) int { return len(k.file.Bytes()) + len(d) })
}

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

const systemDir = "/var/lib/ipfs-registry"

// DefaultDir returns the directory to use if the user names none:
// /var/lib/ipfs-registry for root and where that exists, otherwise ipfs-registry in
// the user's data directory (XDG_DATA_HOME, ~/.local/share).
func DefaultDir() (string, error) {
	if info, err := os.Stat(systemDir); os.Geteuid() == 0 || err == nil && info.IsDir() {
		return systemDir, nil
	}
	return userDir()
}

// DefaultDirs returns every directory that DefaultDir may return to a user with this
// home, now or later. A command that looks for images looks in all of them.
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

// Owner returns the user to whom the directory belongs, where the system knows users.
func (s *Store) Owner() (uid int, known bool) {
	info, err := os.Stat(s.dir)
	if err != nil {
		return 0, false
	}
	return atomicfile.OwnerOf(info)
}

// checkOwner makes sure that no other user, except root, can change the kept part of
// the store while this process writes to it.
func (s *Store) checkOwner() error {
	if s.root.Exists() {
		return s.root.checkOwner()
	}
	return s.eachOwner(func(path string, owner, us int) error {
		if owner == us || owner == 0 {
			return nil
		}
		return &OwnerError{fmt.Sprintf("%s belongs to user %d, and this is user %d: run the same command as its owner, with `sudo -u '#%d'`, or make it yours with `chown -R %d %s`, and give Caddy its cache with `chown -R %d %s`",
			path, owner, us, owner, us, strconv.Quote(s.dir), owner, strconv.Quote(s.cached.dir))}
	})
}

// checkOwner makes sure that no other user, root included, can change the store while
// this process writes to it: what one user puts into the root must not be lost to
// another.
func (r *Root) checkOwner() error {
	return r.store.eachOwner(func(path string, owner, us int) error {
		if owner == us {
			return nil
		}
		return &OwnerError{fmt.Sprintf("%s belongs to user %d, and this is user %d; a store with a root of its own has one owner: run the same command as that user, with `sudo -u '#%d'`, or give the whole store to this one, with `chown -R %d %s`",
			path, owner, us, owner, us, strconv.Quote(r.store.dir))}
	})
}

// eachOwner calls check with the owner of each directory of the kept part of the store and
// with the user of this process, where the system knows users.
func (s *Store) eachOwner(check func(path string, owner, us int) error) error {
	for _, name := range []string{"", "tmp", "images", "root", string(blobs), string(nodes), string(files)} {
		path := filepath.Join(s.dir, name)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if owner, known := atomicfile.OwnerOf(info); known {
			if err := check(path, owner, os.Geteuid()); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckReadable returns an error that names the first directory of the store that this
// process cannot read. Directories that do not exist are no error.
func (s *Store) CheckReadable() error {
	for _, name := range []string{"", "images", "root", string(blobs), string(nodes), string(files)} {
		dir, err := os.Open(filepath.Join(s.dir, name))
		if err == nil {
			_, err = dir.Readdirnames(1)
			dir.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: make the store readable for user %d, with its directories and files", err, os.Geteuid())
		}
	}
	return nil
}

// lock takes the store's lock: shared for a process that adds something, exclusive for
// a process that removes something.
//
// A process that wants to remove something would wait for as long as others keep
// adding. So every process passes a gate before it takes the lock, and one that wants
// the lock exclusively keeps the gate shut until it has it.
func (s *Store) lock(ctx context.Context, m lockMode) (*flock.Flock, error) {
	gate, err := acquire(ctx, filepath.Join(s.dir, "gate"), m)
	if err != nil {
		return nil, err
	}
	defer release(gate)
	return acquire(ctx, filepath.Join(s.dir, "lock"), m)
}

// node returns a node that is kept or cached. It is a unixfs.Getter.
func (s *Store) node(ctx context.Context, c cid.Cid) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	data, err := s.readNode(c)
	if errors.Is(err, ErrLacking) {
		return s.cached.readVerified(c)
	}
	return data, err
}

// anyFile returns the record of a file that is kept or cached.
func (s *Store) anyFile(c cid.Cid) (digest.Digest, *unixfs.Table, error) {
	d, table, err := s.file(c)
	if errors.Is(err, ErrLacking) {
		if d, table, err = s.cached.file(c); err == nil {
			s.cached.touch(s.cached.filePath(c))
		}
	}
	return d, table, err
}

// hasBlob reports whether a blob is kept or cached.
func (s *Store) hasBlob(d digest.Digest) bool {
	return s.exists(s.blobPath(d)) || s.cached.exists(s.cached.blobPath(d))
}
