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
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
)

// A disk keeps records over restarts, each in a file of its key's name. A disk that
// cannot be written to fails no look-up, and is tried again with the next record.
type disk struct {
	dir      string       // empty for none
	reported atomic.Int64 // Unix time in nanoseconds at which a failure was last reported
}

// reportInterval is how often a disk's failures are reported.
const reportInterval = time.Minute

func (d *disk) path(n Name) string { return filepath.Join(d.dir, n.String()) }

// load returns the record that is kept of a key. A disk is trusted no more than a
// gateway.
func (d *disk) load(n Name) (record, error) {
	if d.dir == "" {
		return record{}, fs.ErrNotExist
	}
	f, err := os.Open(d.path(n))
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return record{}, err
	}
	return readRecord(data, n)
}

// save keeps a record in place of an older one. It returns one error in each
// reportInterval.
func (d *disk) save(n Name, r record, data []byte) error {
	if d.dir == "" {
		return nil
	}
	var err error
	if kept, none := d.load(n); none != nil || r.newer(kept) {
		err = d.write(n, r, data)
	} else {
		err = d.touch(n)
	}
	if err == nil {
		return nil
	}
	now, last := time.Now().UnixNano(), d.reported.Load()
	if last != 0 && now-last < int64(reportInterval) || !d.reported.CompareAndSwap(last, now) {
		return nil
	}
	return err
}

func (d *disk) write(n Name, r record, data []byte) error {
	// The store itself is not ours to make.
	if err := os.Mkdir(d.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.makeRoom(n); err != nil {
		return err
	}
	f, err := atomicfile.Create(d.dir, tempPrefix, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Finish(); err != nil {
		return err
	}
	return d.replace(n, r, f.Rename)
}

// replacing is held from the look at a file until another is in its place. It is
// one for all disks, since two may be of the same directory.
var replacing sync.Mutex

// replace gives a written file the key's name, unless a newer record has taken it
// meanwhile.
func (d *disk) replace(n Name, r record, rename func(string) error) error {
	replacing.Lock()
	defer replacing.Unlock()
	if kept, err := d.load(n); err == nil && kept.newer(r) {
		return nil
	}
	return rename(d.path(n))
}

// touchInterval is how long a file that is in use may look as if it were not.
const touchInterval = time.Hour

// touch keeps a file that is in use from those that make room.
func (d *disk) touch(n Name) error {
	info, err := os.Stat(d.path(n))
	if err == nil && time.Since(info.ModTime()) > touchInterval {
		err = os.Chtimes(d.path(n), time.Time{}, time.Now())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it made room just now
	}
	return err
}

// tempPrefix begins no key.
const tempPrefix = "new-"

// makeRoom removes what was in use longest ago where a new key would be one too
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
		return cmp.Or(used(a).Compare(used(b)), strings.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries[:len(entries)-maxNames*3/4] {
		if err := os.Remove(filepath.Join(d.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func used(e os.DirEntry) time.Time {
	info, err := e.Info()
	if err != nil {
		return time.Time{} // gone already
	}
	return info.ModTime()
}
