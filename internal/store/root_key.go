package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// Name returns the IPNS name of the root (k51…). It reports false if the root has none.
func (r *Root) Name() (name string, ok bool) {
	if last, err := r.LastRecord(); err == nil {
		return last.Name, true
	}
	key, err := r.Key()
	return key.Name(), err == nil
}

// Key returns the private key of the root, which only the owner of the store can read. The
// error is ErrLacking if the root has none.
func (r *Root) Key() (ipns.Key, error) {
	data, err := r.store.readFile(r.path("key"), ipns.MaxKey)
	if err != nil {
		return ipns.Key{}, lacking(err)
	}
	r.guardKey()
	key, err := ipns.ParseKey(data)
	if err != nil {
		return ipns.Key{}, fmt.Errorf("%s is %w: %w", r.path("key"), ErrDamaged, err)
	}
	return key, nil
}

// guardKey restores keyMode if the key has another mode, for example because the store was
// restored from a backup: other users could read the key.
func (r *Root) guardKey() {
	info, err := r.store.lstat(r.path("key"))
	if err != nil || info.Mode().Perm() == keyMode {
		return
	}
	_ = r.store.within(r.path("key"), func(dir *os.Root, name string) error { return dir.Chmod(name, keyMode) })
}

// keyMode is the mode of the file of the key.
const keyMode fs.FileMode = 0o600

// errKeyMissing is the error for a root that has lost its key. EnsureKey does not make a new
// one, since no registry would follow the new name.
var errKeyMissing = errors.New("the key is missing: restore it from a backup with `converter key import`, or give the root another name with `converter key rotate`")

// EnsureKey makes a key for the root unless it has one, and returns the root's IPNS name.
func (r *Root) EnsureKey(ctx context.Context) (name string, err error) {
	if key, err := r.Key(); err == nil {
		return key.Name(), nil
	}
	err = r.locked(ctx, func() error {
		key, err := r.Key()
		if errors.Is(err, ErrLacking) {
			if last, err := r.LastRecord(); err == nil {
				return fmt.Errorf("%s is signed by %s: %w", r.path("record"), last.Name, errKeyMissing)
			}
			if key, err = ipns.NewKey(); err == nil {
				err = r.putKey(key)
			}
		}
		name = key.Name()
		return err
	})
	return name, err
}

// SetKey gives the root a key, and with it an IPNS name, and signs a record with it. Followers
// of an earlier name no longer see changes of the root.
func (r *Root) SetKey(ctx context.Context, key ipns.Key) error {
	return r.locked(ctx, func() error { return r.putKey(key) })
}

// putKey writes the key, and signs a record with it if the root has a state. After a
// crash in between, Signed signs the record. The root must be locked.
func (r *Root) putKey(key ipns.Key) error {
	data, err := key.Marshal()
	if err != nil {
		return err
	}
	if err := r.replace("key", data, keyMode); err != nil {
		return err
	}
	return r.signIfDue()
}

// locked calls do with the root locked, so that no other process changes it.
func (r *Root) locked(ctx context.Context, do func() error) error {
	if err := r.checkOwner(); err != nil {
		return err
	}
	if err := r.store.mkdirAll(r.dir()); err != nil {
		return err
	}
	lock, err := acquire(ctx, r.path("lock"), exclusive)
	if err != nil {
		return fmt.Errorf("locking the root: %w", err)
	}
	defer release(lock)
	return do()
}

// replace writes a file of the root, durably. The root must be locked.
func (r *Root) replace(name string, data []byte, mode fs.FileMode) error {
	if err := r.stage(name, data, mode); err != nil {
		return err
	}
	if err := r.unstage(name); err != nil {
		return err
	}
	return atomicfile.SyncDir(r.dir())
}

// stage writes a file of the root under a temporary name, durably, for unstage to put in
// place. The root must be locked.
func (r *Root) stage(name string, data []byte, mode fs.FileMode) error {
	temp := r.staged(name)
	if err := r.store.remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a killed process
		return err
	}
	err := r.store.within(temp, func(dir *os.Root, name string) error {
		f, err := dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	})
	if err != nil {
		_ = r.store.remove(temp) // the next stage does it, or fails
	}
	return err
}

func (r *Root) staged(name string) string { return r.path(name + ".new") }

// unstage renames a file that stage has written into place.
func (r *Root) unstage(name string) error { return r.store.rename(r.staged(name), r.path(name)) }
