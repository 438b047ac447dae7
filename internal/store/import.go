package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Import brings one root into the store. Nothing of it can be seen before
// Commit, and afterwards it is on disk to stay. It is for one goroutine.
type Import struct {
	store *Store
	temp  *temp
	lock  *flock.Flock        // nil where it is not held
	dirs  map[string]struct{} // to sync: something was put into them
	made  []string            // directories of the store that were not there
	temps int
}

// Begin starts an import. Close must be called in the end. What killed imports
// left is removed in passing.
func (s *Store) Begin() (*Import, error) {
	_ = s.leftovers((*temp).remove) // whatever cannot be removed is not in our way
	im := &Import{store: s, dirs: map[string]struct{}{}}
	err := im.retry(func() (err error) {
		if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
			return err
		}
		for _, dir := range []string{s.dir, s.tmp()} {
			if err := im.mkdir(dir); err != nil {
				return err
			}
		}
		im.temp, err = s.makeTemp()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return im, nil
}

// retry does again what failed since another import, giving up, took away a
// directory that was empty.
func (im *Import) retry(do func() error) (err error) {
	for range 10 {
		if err = do(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// TempDir is where to write blobs before they are handed to Blob. The file lock
// in it is the store's.
func (im *Import) TempDir() string { return im.temp.dir }

// Lock makes sure that what is in the store stays there, until Commit or Close.
// It must be called before Blob, Node and Commit. It waits while somebody removes
// things from the store, who in turn waits for us: there should be nothing left
// to do by then but to put things in place.
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

var errNotLocked = errors.New("an import puts things in place before Lock")

func (im *Import) unlock() {
	if im.lock != nil {
		release(im.lock)
		im.lock = nil
	}
}

// Blob takes over the file at path in TempDir: the blob with the given digest,
// whose DAG is f. One that is there and has the same bytes stays, with whatever
// the system has cached of it; one that rotted is mended.
func (im *Import) Blob(path string, d digest.Digest, f *unixfs.File) error {
	if im.lock == nil {
		return errNotLocked
	}
	if err := im.placeBlob(path, im.store.blobPath(d)); err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	for _, nd := range f.Nodes {
		if err := im.Node(nd); err != nil {
			return err
		}
	}
	record, err := encodeFile(d, f.Table)
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	return im.write(im.store.filePath(f.CID), record)
}

func (im *Import) placeBlob(path, final string) error {
	there, err := sameContent(path, final)
	switch {
	case err != nil:
		return err
	case !there:
		return im.adopt(path, final)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return im.mkdirs(filepath.Dir(final)) // who put it there may not have synced it yet
}

// Node stores a directory, a node of a file, or a small file that is one block.
func (im *Import) Node(b unixfs.Block) error {
	if im.lock == nil {
		return errNotLocked
	}
	return im.write(im.store.nodePath(b.CID), b.Data)
}

// Has reports whether the store has the blob that is the file c, with its nodes
// and leaf table, so that it need not be handed over again. Nodes are verified
// and the blob has its size, but what it holds is not read: it may have rotted.
// After Lock it stays so; before, it can have changed by the next call.
func (im *Import) Has(c cid.Cid) bool {
	d, table, err := im.store.file(c)
	if err != nil {
		return false
	}
	w := im.store.newWalk()
	if im.lock != nil { // who put it there may not have synced it yet
		w.found = func(path string) error { return im.mkdirs(filepath.Dir(path)) }
	}
	return w.file(c, d, table) == nil
}

// Commit makes the root durable. When it returns nil, the image is on disk.
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

// Close removes what is temporary, and of the directories that the import made
// those that stayed empty.
func (im *Import) Close() error {
	im.unlock()
	err := im.temp.remove()
	for _, dir := range slices.Backward(im.made) {
		os.Remove(dir) // which fails where there is something in it
	}
	return err
}

// write stores data under its final name. What is there already is written
// anew, which mends it if it rotted.
func (im *Import) write(final string, data []byte) error {
	im.temps++
	path := filepath.Join(im.temp.dir, fmt.Sprintf("record-%d", im.temps))
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	return im.adopt(path, final)
}

// adopt syncs a temporary file and renames it.
func (im *Import) adopt(path, final string) error {
	if err := os.Chmod(path, 0o644); err != nil {
		return err
	}
	if err := syncFile(path); err != nil {
		return err
	}
	return im.retry(func() error {
		if err := im.mkdirs(filepath.Dir(final)); err != nil {
			return err
		}
		return os.Rename(path, final)
	})
}

// mkdirs makes a directory below the store's, and notes that it and those above
// it are to be synced, also where another process made them just now.
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

// mkdir makes a directory that everybody may read, whatever the umask says.
func (im *Import) mkdir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		im.made = append(im.made, dir)
		return os.Chmod(dir, 0o755)
	}
	if info, other := os.Stat(dir); other == nil && info.IsDir() {
		return nil
	}
	return err
}

func (im *Import) sync() error {
	for dir := range im.dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	clear(im.dirs)
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes durable which files are in a directory, where a system has a way
// to ask for that: Windows has none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
