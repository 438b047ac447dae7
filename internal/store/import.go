package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Import adds one root to the store. The root is invisible before Commit, and durable
// afterwards. An Import is for one goroutine, except Node.
type Import struct {
	store *Store
	temp  *temp
	lock  *flock.Flock // nil unless it is held
	files atomic.Int64 // the number of temporary files for small files

	mu   sync.Mutex          // guards what follows while nodes are stored
	dirs map[string]struct{} // directories that must be synced
	made []string            // directories of the store that the import made

	space  *Cache // evicts when the disk is nearly full
	cancel context.CancelFunc
	watch  sync.WaitGroup
}

// BeginImport starts an import, and removes the files that killed imports left. Close
// must be called in the end. Until then, cached files are evicted whenever the disk is
// nearly full.
func (s *Store) BeginImport() (*Import, error) {
	if err := s.checkOwner(); err != nil {
		return nil, err
	}
	_ = s.leftovers((*temp).remove, importPrefix) // files that stay do no harm
	im := &Import{store: s, dirs: map[string]struct{}{}, space: s.spaceForImport()}
	err := im.retry(func() (err error) {
		if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
			return err
		}
		for _, dir := range []string{s.dir, s.tmp()} {
			if err := im.mkdir(dir); err != nil {
				return err
			}
		}
		im.temp, err = s.newTemp(importPrefix)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	im.keepRoom()
	return im, nil
}

// lookForRoom is how often an import checks how much room the disk has.
const lookForRoom = 10 * time.Millisecond

// spaceForImport returns a cache without a limit of its own that leaves as much of the
// disk free as an import needs until the next check.
func (s *Store) spaceForImport() *Cache {
	_, size, _ := diskSpace(s.dir)
	return s.NewCache(CacheConfig{MaxSize: math.MaxInt64, MinFree: max(1, minFreeOf(size)/2, min(64<<20, size/4))})
}

// keepRoom evicts cached files while the import writes: a conversion must not fail
// because of the cache.
func (im *Import) keepRoom() {
	ctx, cancel := context.WithCancel(context.Background())
	im.cancel = cancel
	im.watch.Go(func() {
		for sleep(ctx, lookForRoom) == nil {
			im.space.evictIfFull(ctx)
		}
	})
}

// retry calls do again if it failed because another import was closed and removed an
// empty directory. If the disk is full, it evicts cached files and calls do once more.
func (im *Import) retry(do func() error) (err error) {
	for range 10 {
		if err = do(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		im.space.evictIfFull(context.Background())
		err = do()
	}
	return err
}

// TempDir returns the directory in which the caller writes blobs that it passes to
// Blob. The file named lock in it belongs to the store.
func (im *Import) TempDir() string { return im.temp.path }

// Lock keeps other processes from removing anything from the store until Commit or
// Close. It must be called before Blob, Node and Commit. It waits for a process that is
// removing something, and such processes wait for the import in turn. So Lock should be
// called when nothing is left to do but to put files in place.
func (im *Import) Lock(ctx context.Context) error {
	err := im.retry(func() (err error) {
		if err := im.mkdirs(im.store.images()); err != nil {
			return err
		}
		im.lock, err = im.store.lock(ctx, shared)
		return err
	})
	if err != nil {
		return fmt.Errorf("locking the store: %w", err)
	}
	im.made = nil // a store stays one
	return nil
}

var errNotLocked = errors.New("an import must be locked before files are put in place")

func (im *Import) unlock() {
	if im.lock != nil {
		release(im.lock)
		im.lock = nil
	}
}

// Blob moves the file at path in TempDir into the store: the blob with the digest d,
// whose DAG is f. If the store has the same bytes already, their file stays, since the
// system may have it in memory. A file that has rotted is replaced.
func (im *Import) Blob(path string, d digest.Digest, f *unixfs.File) error {
	if im.lock == nil {
		return errNotLocked
	}
	if err := im.placeBlob(path, im.store.blobPath(d)); err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	record, err := encodeFile(d, f.Table)
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	var group errgroup.Group
	group.SetLimit(maxWriters)
	for _, nd := range f.Nodes {
		group.Go(func() error { return im.Node(nd) })
	}
	group.Go(func() error { return im.write(im.store.filePath(f.CID), record) })
	return group.Wait()
}

func (im *Import) placeBlob(path, final string) error {
	there, err := im.store.sameContent(path, final)
	switch {
	case err != nil:
		return err
	case !there:
		return im.adopt(path, final)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return im.mkdirs(filepath.Dir(final)) // the import that wrote it may not have synced it yet
}

// Node stores a block: a directory, a node of a file, or a small file. It may be called
// concurrently with itself, which saves waiting for the disk.
func (im *Import) Node(b unixfs.Block) error {
	if im.lock == nil {
		return errNotLocked
	}
	return im.write(im.store.nodePath(b.CID), b.Data)
}

// Has reports whether the store has the blob that is the file c, with its nodes and
// leaf table, so that the caller need not pass it to Blob. It verifies the nodes and
// the size of the blob, but not its content, which may have rotted. After Lock the
// answer stays true until Commit or Close.
func (im *Import) Has(c cid.Cid) bool {
	d, table, err := im.store.file(c)
	if err != nil {
		return false
	}
	w := im.store.newWalk()
	if im.lock != nil { // the import that wrote the files may not have synced them yet
		w.found = func(path string) error { return im.mkdirs(filepath.Dir(path)) }
	}
	return w.file(c, d, table) == nil
}

// Commit makes the root durable and writes its record. Then it unlocks the import.
func (im *Import) Commit(root cid.Cid, r Record) error {
	if im.lock == nil {
		return errNotLocked
	}
	defer im.unlock()
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := im.sync(); err != nil {
		return err
	}
	if err := im.write(im.store.imagePath(root), b); err != nil {
		return err
	}
	return im.sync()
}

// Close removes temporary files, and the empty directories that the import made.
func (im *Import) Close() error {
	im.cancel()
	im.watch.Wait()
	im.unlock()
	err := im.temp.remove()
	for _, dir := range slices.Backward(im.made) {
		os.Remove(dir) // fails if the directory is not empty
	}
	return err
}

// write stores data under its final name. It replaces a file that is there already,
// which may have rotted.
func (im *Import) write(final string, data []byte) error {
	path := filepath.Join(im.temp.path, fmt.Sprintf("record-%d", im.files.Add(1)))
	if err := im.retry(func() error { return os.WriteFile(path, data, 0o600) }); err != nil {
		return err
	}
	return im.adopt(path, final)
}

// adopt puts a temporary file in place, durably.
func (im *Import) adopt(path, final string) error {
	return im.retry(func() error {
		im.mu.Lock()
		err := im.mkdirs(filepath.Dir(final))
		im.mu.Unlock()
		if err != nil {
			return err
		}
		return im.store.place(path, final, true)
	})
}

// mkdirs makes a directory of the store and those above it, and notes that they must be
// synced. It notes existing ones as well: another process may have just made them.
func (im *Import) mkdirs(dir string) error {
	im.dirs[dir] = struct{}{}
	if dir == im.store.dir {
		im.dirs[filepath.Dir(dir)] = struct{}{}
		return nil
	}
	if err := im.mkdirs(filepath.Dir(dir)); err != nil {
		return err
	}
	return im.mkdir(dir)
}

func (im *Import) mkdir(dir string) error {
	made, err := im.store.mkdir(dir)
	if made {
		im.made = append(im.made, dir)
	}
	return err
}

func (im *Import) sync() error {
	var group errgroup.Group
	group.SetLimit(maxWriters)
	for dir := range im.dirs {
		group.Go(func() error { return atomicfile.SyncDir(dir) })
	}
	clear(im.dirs)
	return group.Wait()
}
