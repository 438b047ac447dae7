package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// Once there is too much in the cache, this part of it goes, so that making room
// is not all that is done.
const atOnce = 10

// grow notes that there is more in the cache, or less.
func (c *Cache) grow(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used += n
	c.wake()
}

// wake has room made if that is needed. It is called with mu held.
func (c *Cache) wake() {
	if c.used+c.under <= c.config.MaxSize {
		return
	}
	select {
	case c.full <- struct{}{}:
	default:
	}
}

// Run looks after the cache until ctx is done: it makes room whenever there is too
// much in it, and looks for rotten files in the whole store once a week.
func (c *Cache) Run(ctx context.Context) {
	var scrubbing sync.WaitGroup
	scrubbing.Go(func() { c.scrubAgainAndAgain(ctx) })
	defer scrubbing.Wait()
	c.keepRoom(ctx)
}

// keepRoom evicts. It finds out after a minute how much is in the cache already, so
// that starting costs nothing.
func (c *Cache) keepRoom(ctx context.Context) {
	c.clear()
	look := time.NewTimer(time.Minute)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			// Other processes fill the cache, too, and end.
			c.clear()
			look.Reset(time.Hour)
		case <-c.full:
		}
		if err := c.Evict(ctx); err != nil && ctx.Err() == nil {
			c.failed(err)
		}
	}
}

// clear removes what killed processes left in tmp. What cannot be removed is not in
// our way.
func (c *Cache) clear() {
	tmp := c.store.cached.tmp()
	entries, _ := readDir(tmp)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), nodePrefix) && !strings.HasPrefix(e.Name(), blobPrefix) {
			continue
		}
		path := filepath.Join(tmp, e.Name())
		if lock, _ := try(path, exclusive); lock != nil {
			os.Remove(path)
			release(lock)
		}
	}
}

// Evict removes what was used least recently, if there is more in the cache than
// its limit. Whatever is open stays readable. One process at a time does it.
func (c *Cache) Evict(ctx context.Context) error {
	if _, err := os.Stat(c.store.cached.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := try(filepath.Join(c.store.cached.dir, "lock"), exclusive)
	if err != nil || lock == nil {
		return err
	}
	defer release(lock)
	e := eviction{ctx: ctx, cache: c, now: time.Now(), bytes: map[int64]int64{}}
	if err := e.each(e.add); err != nil {
		return err
	}
	c.mu.Lock()
	c.used = e.total
	e.surplus = 0
	if total := e.total + c.under; total > c.config.MaxSize {
		e.surplus = total - c.config.MaxSize + c.config.MaxSize/atOnce
	}
	c.mu.Unlock()
	if e.surplus == 0 {
		return nil
	}
	return e.run()
}

// An eviction goes over the cache twice: to see how much is how old, and to
// remove what is too old. So it need not remember every file.
type eviction struct {
	ctx     context.Context
	cache   *Cache
	now     time.Time
	bytes   map[int64]int64 // by the minute in which they were used last
	total   int64
	surplus int64 // bytes to be removed
}

func (e *eviction) minute(info fs.FileInfo) int64 {
	return min(info.ModTime().Unix(), e.now.Unix()) / 60
}

// room is how much of the disk a file takes, about.
func room(size int64) int64 {
	const block = 4096
	return (size + block - 1) / block * block
}

// add counts a file. One that a wrong clock dated would seem to be used until its
// day comes.
func (e *eviction) add(path string, info fs.FileInfo) {
	if info.ModTime().After(e.now) {
		_ = os.Chtimes(path, e.now, e.now)
	}
	e.bytes[e.minute(info)] += room(info.Size())
	e.total += room(info.Size())
}

// run removes what is older than some minute, and of that minute's as much as it
// takes.
func (e *eviction) run() error {
	evicted := e.cache.now().Evicted
	var last int64
	for _, last = range slices.Sorted(maps.Keys(e.bytes)) {
		if e.surplus <= e.bytes[last] {
			break
		}
		e.surplus -= e.bytes[last]
	}
	return e.each(func(path string, info fs.FileInfo) {
		at := e.minute(info)
		if at > last || at == last && e.surplus <= 0 {
			return
		}
		if os.Remove(path) != nil {
			return
		}
		e.cache.grow(-room(info.Size()))
		if evicted != nil {
			evicted(info.Size())
		}
		if at == last {
			e.surplus -= room(info.Size())
		}
	})
}

// each visits the files of the cache. Blobs that are kept by now are not needed
// twice, and go first.
func (e *eviction) each(visit func(path string, info fs.FileInfo)) error {
	sh := e.cache.store.cached
	err := eachDir(filepath.Join(sh.dir, "blobs"), func(algorithm string) error {
		return e.dir(algorithm, func(path string, info fs.FileInfo) {
			d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(algorithm)), info.Name())
			if d.Validate() == nil && exists(e.cache.store.blobPath(d)) && os.Remove(path) == nil {
				return
			}
			visit(path, info)
		})
	})
	if err != nil {
		return err
	}
	if err := e.dir(filepath.Join(sh.dir, "files"), visit); err != nil {
		return err
	}
	return eachDir(filepath.Join(sh.dir, "nodes"), func(shard string) error { return e.dir(shard, visit) })
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// dir visits the files of a directory, a few at a time.
func (e *eviction) dir(path string, visit func(path string, info fs.FileInfo)) error {
	d, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(256)
		for _, entry := range entries {
			info, gone := entry.Info()
			if gone == nil && info.Mode().IsRegular() {
				visit(filepath.Join(path, entry.Name()), info)
			}
		}
		switch {
		case e.ctx.Err() != nil:
			return context.Cause(e.ctx)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
