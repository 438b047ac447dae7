package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// A pending blob is one that a repository has and that no manifest names yet. Its mark is a
// file in root/pending/blobs/<repository>/ with the name of the digest, which holds the CID.
// A mark counts for a day after it was used.

// pendingFor is how long uploads and pending blobs stay that nobody uses.
const pendingFor = 24 * time.Hour

func (r *Root) marks(name string) string {
	return r.path("pending", "blobs", strings.ReplaceAll(name, "/", "+")) // which no name has
}

func (r *Root) mark(name string, d digest.Digest) string {
	return filepath.Join(r.marks(name), d.Algorithm().String()+"-"+d.Encoded())
}

// Pend makes the file c, which the store has, a pending blob of a repository under the digest
// d. Everything that the import has put in place is durable afterwards. The mark itself may be
// lost when the power fails; then the client must upload the blob again. The import must be
// locked.
func (im *Import) Pend(name string, d digest.Digest, c cid.Cid) error {
	if im.lock == nil {
		return errNotLocked
	}
	r := im.store.root
	if err := r.checkOwner(); err != nil {
		return err
	}
	if err := im.sync(); err != nil {
		return err
	}
	return im.retry(func() error {
		temp := filepath.Join(im.TempDir(), "mark")
		if err := os.WriteFile(temp, []byte(key(c)+"\n"), 0o600); err != nil {
			return err
		}
		if err := im.store.mkdirAll(r.marks(name)); err != nil {
			return err
		}
		return im.store.place(temp, r.mark(name, d), false)
	})
}

// Pending returns the file that is a pending blob of a repository, and keeps it pending for
// another day. The error is ErrLacking if there is none.
func (r *Root) Pending(name string, d digest.Digest) (cid.Cid, error) {
	path := r.mark(name, d)
	c, err := r.readMark(path)
	if errors.Is(err, ErrDamaged) { // the power failed
		return cid.Undef, fmt.Errorf("%w: %w", err, ErrLacking)
	}
	if err != nil {
		return cid.Undef, lacking(err)
	}
	if !r.store.exists(r.store.filePath(c)) {
		return cid.Undef, fmt.Errorf("the file of %s: %w", path, ErrLacking)
	}
	r.store.touch(path)
	return c, nil
}

func (r *Root) readMark(path string) (cid.Cid, error) {
	text, err := r.store.readFile(path, maxSetting)
	if err != nil {
		return cid.Undef, err
	}
	c, ok := parseKey(strings.TrimSuffix(string(text), "\n"))
	if !ok {
		return cid.Undef, fmt.Errorf("%s is %w: it holds no CID", path, ErrDamaged)
	}
	return c, nil
}

// Unpend ends that a blob is pending. The error is ErrLacking if it is not.
func (r *Root) Unpend(name string, d digest.Digest) error {
	err := lacking(r.store.remove(r.mark(name, d)))
	_ = r.store.remove(r.marks(name)) // fails unless it is empty
	return err
}

// eachMark calls visit with the path of the mark of each pending blob.
func (r *Root) eachMark(ctx context.Context, visit func(path string, info fs.FileInfo) error) error {
	dir := r.path("pending", "blobs")
	names, err := r.store.readDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := r.store.eachIn(ctx, "", filepath.Join(dir, name.Name()), func(it item) error { return visit(it.path, it.info) })
		if err != nil {
			return err
		}
	}
	return nil
}

// isStale reports whether a mark or an upload was not used for so long that it goes.
func (r *Root) isStale(info fs.FileInfo) bool { return r.now().Sub(info.ModTime()) > pendingFor }

// RemoveStale removes the uploads and the marks of pending blobs that were not used for a
// day.
func (r *Root) RemoveStale(ctx context.Context) error {
	if !r.Exists() {
		return nil
	}
	if err := r.checkOwner(); err != nil {
		return err
	}
	var stale []string
	err := r.eachMark(ctx, func(path string, info fs.FileInfo) error {
		if r.isStale(info) {
			stale = append(stale, path)
		}
		return nil
	})
	for _, path := range stale {
		if failed := r.store.remove(path); !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
		_ = r.store.remove(filepath.Dir(path)) // fails unless it is empty
	}
	return errors.Join(err, r.removeStaleUploads(ctx))
}
