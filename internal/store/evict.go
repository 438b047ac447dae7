package store

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Run looks after the cache until ctx is done: it evicts files whenever the cache is
// over its limit, and scrubs the whole store once a week.
func (c *Cache) Run(ctx context.Context) {
	var scrubbing sync.WaitGroup
	scrubbing.Go(func() { c.scrubWeekly(ctx) })
	defer scrubbing.Wait()
	c.keepRoom(ctx)
}

// keepRoom evicts files whenever the cache is over its limit, until ctx is done. It
// measures the cache when the first blob begins, or after a minute, so that starting
// costs nothing.
func (c *Cache) keepRoom(ctx context.Context) {
	c.clear()
	look := time.NewTimer(time.Minute)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C: // other processes fill the cache, too, and may be killed
			c.clear()
			look.Reset(time.Hour)
		case <-c.begun:
		case <-c.room.full:
		}
		if err := c.Evict(ctx); err != nil && ctx.Err() == nil {
			c.failed(err)
		}
	}
}

// Disks lose data now and then. So a store in use is read once a week, slowly enough to
// disturb no reader.
const (
	scrubFirst = time.Hour
	scrubAgain = 7 * 24 * time.Hour
	scrubRate  = 4 << 20 // bytes a second
)

// scrubWeekly reads the whole store once a week, until ctx is done.
func (c *Cache) scrubWeekly(ctx context.Context) {
	for wait := scrubFirst; sleep(ctx, wait) == nil; wait = scrubAgain {
		c.scrub(ctx)
	}
}

// scrub reads the whole store. It reports what it finds to the configuration that is
// current then.
func (c *Cache) scrub(ctx context.Context) {
	err := c.store.Scrub(ctx, Scrub{
		Kept:   true,
		Cached: true,
		Read:   func(n int) error { return sleep(ctx, time.Duration(n)*time.Second/scrubRate) },
		Found: func(path string, err error) {
			if rotten := c.now().Rotten; rotten != nil {
				rotten(path, err)
			}
		},
	})
	if failed := c.now().ScrubFailed; err != nil && ctx.Err() == nil && failed != nil {
		failed(err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// clear removes the files that killed processes left in tmp. Files that cannot be
// removed do no harm.
func (c *Cache) clear() {
	_ = c.store.cached.leftovers((*temp).remove, nodePrefix, blobPrefix)
}

// Evict removes the least recently used files if the cache is over its limit, or if
// the disk has less room than must stay free. Open files stay. One process at a time
// evicts.
func (c *Cache) Evict(ctx context.Context) error {
	c.evicting.Lock()
	defer c.evicting.Unlock()
	return c.evict(ctx)
}

// evict must be called with evicting held.
func (c *Cache) evict(ctx context.Context) error {
	if !dirExists(c.store.cached.dir) {
		return nil
	}
	lock, err := try(filepath.Join(c.store.cached.dir, "lock"), exclusive)
	if err != nil || lock == nil {
		return err
	}
	defer release(lock)
	e := eviction{ctx: ctx, cache: c, now: time.Now(), evicted: c.now().Evicted, bytes: map[int64]int64{}}
	if err := c.store.cached.each(ctx, e.count, temps, blobs, files, nodes); err != nil {
		return err
	}
	surplus := c.room.measured(e.total, e.inUse, e.unused)
	if spare, low := c.spare(); spare < low {
		surplus = max(surplus, 2*low-spare)
	}
	if surplus <= 0 {
		return nil
	}
	return e.run(surplus)
}

// evictIfFull evicts if the disk is nearly full. It is for a process that writes
// to the same disk outside the cache.
func (c *Cache) evictIfFull(ctx context.Context) {
	if spare, low := c.spare(); spare < low {
		_ = c.Evict(ctx)
	}
}

// An eviction reads the cache twice: first to count how many bytes were used last in
// each minute, and then to remove the files that were used before some minute. So it
// need not remember every file.
type eviction struct {
	ctx     context.Context
	cache   *Cache
	now     time.Time
	evicted func(bytes int64)
	bytes   map[int64]int64 // bytes that can be removed, by the minute of their last use
	total   int64           // bytes
	inUse   int64           // bytes of open files
	unused  int64           // bytes of prefetched blobs that no reader opened
}

// minute returns the minute of the last use of a file. Unfinished blobs go first.
func (e *eviction) minute(it item) int64 {
	if it.folder == temps {
		return 0
	}
	return min(it.info.ModTime().Unix(), e.now.Unix()) / 60
}

// count counts a file, or removes a cached blob that has been kept since. The time of
// a file that is in the future is set to now, so that the file can be evicted.
func (e *eviction) count(it item) error {
	if it.folder == temps && (!isUnfinished(it) || e.isInUse(it)) {
		return nil // the process that writes it counts it
	}
	s := e.cache.store
	if d, ok := it.blob(); ok && s.exists(s.blobPath(d)) && s.cached.remove(it.path) == nil {
		return nil
	}
	if it.info.ModTime().After(e.now) {
		_ = s.cached.setTime(it.path, e.now)
	}
	size := onDisk(it.info.Size())
	e.total += size
	if it.folder == blobs && it.info.ModTime().Equal(neverUsed) {
		e.unused += size
	}
	if e.isInUse(it) {
		e.inUse += size
	} else {
		e.bytes[e.minute(it)] += size
	}
	return nil
}

// isUnfinished reports whether a file in tmp is a blob on its way into the cache, or was
// one.
func isUnfinished(it item) bool { return strings.HasPrefix(filepath.Base(it.path), blobPrefix) }

// isInUse reports whether a process has a blob open.
func (e *eviction) isInUse(it item) bool {
	if it.folder != blobs && it.folder != temps {
		return false
	}
	f, err := e.cache.store.cached.open(it.path)
	if err != nil {
		return false
	}
	defer f.Close()
	return isInUse(f)
}

// run removes surplus bytes: all files that were used last before some minute, and as
// many files of that minute as necessary.
func (e *eviction) run(surplus int64) error {
	var last int64
	for _, last = range slices.Sorted(maps.Keys(e.bytes)) {
		if surplus <= e.bytes[last] {
			break
		}
		surplus -= e.bytes[last]
	}
	sh := e.cache.store.cached
	return sh.each(e.ctx, func(it item) error {
		at, size := e.minute(it), onDisk(it.info.Size())
		if at > last || at == last && surplus <= 0 || !e.remove(it) {
			return nil
		}
		e.cache.room.change(-size)
		if e.evicted != nil {
			e.evicted(it.info.Size())
		}
		if at == last {
			surplus -= size
		}
		return nil
	}, temps, blobs, files, nodes)
}

// remove reports whether it removed a file, which was not in use.
func (e *eviction) remove(it item) bool {
	sh := e.cache.store.cached
	if it.folder == temps {
		return isUnfinished(it) && removeUnlocked(it.path)
	}
	return !e.isInUse(it) && sh.remove(it.path) == nil
}

// Forget removes every cached file below a root, even if other roots lead to it, since
// it can be fetched again. Kept files stay.
func (s *Store) Forget(ctx context.Context, root cid.Cid) (Collected, error) {
	var gone Collected
	seen, todo := cid.NewSet(), []cid.Cid{root}
	for len(todo) > 0 && ctx.Err() == nil {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen.Visit(c) {
			continue
		}
		if data, err := s.node(ctx, c); err == nil {
			below, _, _ := unixfs.Children(unixfs.Block{CID: c, Data: data}) // nil if it is not UnixFS
			for _, child := range below {
				todo = append(todo, child.CID)
			}
		}
		paths := []string{s.cached.nodePath(c)}
		if d, _, err := s.cached.file(c); err == nil {
			paths = append(paths, s.cached.filePath(c), s.cached.blobPath(d))
		}
		for _, path := range paths {
			if err := s.cached.removeCounted(path, &gone); err != nil {
				return gone, err
			}
		}
		if path := s.cached.partialPath(c); s.cached.exists(path) {
			removeUnlocked(path)
		}
	}
	return gone, context.Cause(ctx)
}

// removeCounted removes and counts a file, if it exists.
func (sh shelf) removeCounted(path string, gone *Collected) error {
	info, err := sh.lstat(path)
	if err == nil {
		err = sh.remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		gone.count(info)
	}
	return err
}
