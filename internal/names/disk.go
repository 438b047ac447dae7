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
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// A disk keeps records over restarts, each in a file with the name of its key. The
// records of keys in use are in a directory of their own below the others, so that no
// number of new keys removes them. A failed write fails no look-up; the next look-up of
// the key writes again.
type disk struct {
	dir      string       // empty for none
	reported atomic.Int64 // Unix time in nanoseconds at which a failure was last reported
}

const (
	// inUseDir is the directory of the keys in use.
	inUseDir = "in-use"

	// tempPrefix begins the names of temporary files. No key begins with it.
	tempPrefix = "new-"

	// reportInterval is how often a disk's failures are reported.
	reportInterval = time.Minute

	// touchInterval is how often the time of a file in use is updated.
	touchInterval = time.Hour
)

func (d *disk) usedDir() string { return filepath.Join(d.dir, inUseDir) }

// load returns the newest record of a key on disk. It is verified like a gateway's.
func (d *disk) load(n Name) (newest record, err error) {
	if d.dir == "" {
		return record{}, fs.ErrNotExist
	}
	err = fs.ErrNotExist
	for _, dir := range []string{d.usedDir(), d.dir} {
		r, failed := readFile(filepath.Join(dir, n.String()), n)
		if failed == nil && (err != nil || r.newer(newest)) {
			newest, err = r, nil
		}
	}
	return newest, err
}

func readFile(path string, n Name) (record, error) {
	f, err := os.Open(path)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, ipns.MaxRecord+1))
	if err != nil {
		return record{}, err
	}
	return readRecord(data, n)
}

// save writes a record unless the disk has a newer one. It returns at most one error in
// each reportInterval.
func (d *disk) save(n Name, r record, data []byte, isInUse bool) error {
	if d.dir == "" {
		return nil
	}
	dir := d.dir
	if isKept(d.usedDir(), n) || isInUse && d.hasRoom(n) {
		dir = d.usedDir()
	}
	if kept, err := d.load(n); err == nil && !r.newer(kept) {
		return d.report(touch(filepath.Join(dir, n.String())))
	}
	return d.report(d.write(dir, n, r, data))
}

func isKept(dir string, n Name) bool {
	_, err := os.Stat(filepath.Join(dir, n.String()))
	return err == nil
}

// hasRoom reports whether one more key can be in use. It removes those that are idle to
// make room.
func (d *disk) hasRoom(n Name) bool {
	isIdle := func(f file) bool { return time.Since(f.used) > idleTime }
	return makeRoom(d.usedDir(), n, isIdle) == nil
}

func (d *disk) report(err error) error {
	if err == nil {
		return nil
	}
	now, last := time.Now().UnixNano(), d.reported.Load()
	if last != 0 && now-last < int64(reportInterval) || !d.reported.CompareAndSwap(last, now) {
		return nil
	}
	return err
}

func (d *disk) write(dir string, n Name, r record, data []byte) error {
	if err := d.makeDir(dir); err != nil {
		return err
	}
	if dir == d.dir {
		if err := makeRoom(dir, n, func(file) bool { return true }); err != nil {
			return err
		}
	}
	f, err := atomicfile.Create(dir, tempPrefix, 0o644)
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
	return d.replace(filepath.Join(dir, n.String()), n, r, f.Rename)
}

// makeDir makes the directories of records, but not the store above.
func (d *disk) makeDir(dir string) error {
	for _, path := range []string{d.dir, dir} {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// replacing is held while a file is compared and replaced. All disks share it, since
// two may have the same directory.
var replacing sync.Mutex

// replace renames a written file to path, unless that has a newer record by now.
func (d *disk) replace(path string, n Name, r record, rename func(string) error) error {
	replacing.Lock()
	defer replacing.Unlock()
	if kept, err := readFile(path, n); err == nil && kept.newer(r) {
		return nil
	}
	return rename(path)
}

// keep moves the record of a key to those in use.
func (d *disk) keep(n Name) error {
	if d.dir == "" {
		return nil
	}
	from := filepath.Join(d.dir, n.String())
	r, err := readFile(from, n)
	if err != nil {
		return nil // it was not written, or is among those in use
	}
	if err := d.makeDir(d.usedDir()); err != nil {
		return d.report(err)
	}
	if !d.hasRoom(n) {
		return nil
	}
	to := filepath.Join(d.usedDir(), n.String())
	return d.report(d.replace(to, n, r, func(to string) error { return os.Rename(from, to) }))
}

// touch updates the time of a file that is in use.
func touch(path string) error {
	info, err := os.Stat(path)
	if err == nil && time.Since(info.ModTime()) > touchInterval {
		err = os.Chtimes(path, time.Time{}, time.Now())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed to make room
	}
	return err
}

var errNoRoom = errors.New("no file can be removed to make room")

// makeRoom removes the files that were not used for the longest time if the file of n
// would be one too many. Files of a crashed process count as well.
func makeRoom(dir string, n Name, mayRemove func(file) bool) error {
	if isKept(dir, n) {
		return nil
	}
	files, err := readFiles(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) < maxNames {
		return nil
	}
	if err != nil {
		return err
	}
	if !mayRemove(files[0]) {
		return errNoRoom
	}
	for _, f := range files[:len(files)-maxNames*3/4] {
		if !mayRemove(f) {
			break
		}
		if err := os.Remove(filepath.Join(dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

type file struct {
	name string
	used time.Time // modification time
}

// readFiles returns the files of a directory, the least recently used first.
func readFiles(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !e.IsDir() { // else it was just removed
			files = append(files, file{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name))
	})
	return files, nil
}
