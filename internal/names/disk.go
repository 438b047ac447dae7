package names

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A disk keeps records over restarts, each in a file of its key's name. It is an
// aid: on one that cannot be written to, what was seen is forgotten.
type disk struct {
	dir    string // empty for none
	broken atomic.Bool
}

func (d *disk) path(n Name) string { return filepath.Join(d.dir, n.String()) }

func (d *disk) load(n Name) ([]byte, error) {
	if d.dir == "" {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(d.path(n))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRecord+1))
}

// save keeps a record in place of what is there. That it cannot is an error once.
func (d *disk) save(n Name, data []byte) error {
	if d.dir == "" || d.broken.Load() {
		return nil
	}
	err := d.write(n, data)
	if err != nil && d.broken.Swap(true) {
		return nil
	}
	return err
}

func (d *disk) write(n Name, data []byte) error {
	// The store itself is not ours to make.
	if err := os.Mkdir(d.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.makeRoom(n); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.dir, tempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // which fails once it has its name
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), d.path(n))
	}
	return err
}

// tempPrefix begins no key.
const tempPrefix = "new-"

// makeRoom removes what was written longest ago where a new key would be one too
// many: anybody can make keys. That goes for what a crash left as well.
func (d *disk) makeRoom(n Name) error {
	if _, err := os.Stat(d.path(n)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil || len(entries) < maxNames {
		return err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int {
		return cmp.Or(written(a).Compare(written(b)), strings.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries[:len(entries)-maxNames*3/4] {
		if err := os.Remove(filepath.Join(d.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func written(e os.DirEntry) time.Time {
	info, err := e.Info()
	if err != nil {
		return time.Time{} // gone already
	}
	return info.ModTime()
}
