package store

import (
	"sync"
	"time"
)

// A room counts the bytes that a cache takes.
type room struct {
	// spare returns how many bytes the disk has beyond those that must stay free, and
	// below how many of them eviction begins.
	spare func() (bytes, low int64)

	full chan struct{} // has a value when there is something to evict

	mu     sync.Mutex
	limit  int64 // bytes
	placed int64 // about how many bytes the files in place have
	coming int64 // bytes of blobs on their way in, and of removed blobs that are open
	inUse  int64 // bytes of the files in place that were open at the last eviction
	unused int64 // about how many bytes the prefetched blobs in place have that no reader opened
	ahead  int64 // bytes reserved for prefetches

	measuredAt time.Time // zero if placed was never measured
}

// atOnce is which part of the limit is evicted beyond what is necessary, so that a busy
// cache does not evict all the time: a tenth.
const atOnce = 10

// onDisk returns about how many bytes of the disk a file of size bytes takes.
func onDisk(size int64) int64 {
	const block = 4096
	return (size + block - 1) / block * block
}

func (r *room) size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.placed+r.coming)
}

// free returns how much room there is without evicting anything.
func (r *room) free() int64 {
	spare, low := r.spare()
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, min(r.limit-r.placed-r.coming, spare-low))
}

// aheadShare is which part of the limit prefetched blobs take that no reader has opened:
// a tenth.
const aheadShare = 10

// measureAgain is how old the measure of these blobs may be before it is taken again.
const measureAgain = time.Minute

// reserve takes n bytes of free room for a prefetch until release is called, or reports
// that there are not as many for prefetches.
func (r *room) reserve(n int64) (release func(), ok bool) {
	free := r.free()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.limit/aheadShare-r.unused-r.ahead {
		if time.Since(r.measuredAt) > measureAgain {
			r.wake() // some of the blobs may have been opened since
		}
		return nil, false
	}
	if n > free-r.ahead {
		return nil, false
	}
	r.ahead += n
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ahead -= n
	}), true
}

// keepUnused notes that a prefetched blob is in place that no reader has opened.
func (r *room) keepUnused(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unused += onDisk(size)
}

// evictable returns about how many bytes could be evicted.
func (r *room) evictable() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.placed-r.inUse)
}

func (r *room) resize(limit int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = limit
	r.wakeIfFull()
}

// fits reports whether a blob of size bytes would fit into an empty cache.
func (r *room) fits(size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return size <= r.limit
}

// take takes room for n bytes of a blob on its way in. It reports false if the bytes
// that cannot be evicted leave no room. Only bytes that have come count: otherwise a
// blob of which nothing comes would take all the room.
func (r *room) take(n int64) bool {
	if !r.hasSpare(n) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inUse+r.coming+n > r.limit {
		r.wake()
		return false
	}
	r.coming += n
	r.wakeIfFull()
	return true
}

// exceeds reports whether n more bytes would take the cache beyond its limit by more than
// a tenth, so that the writer must wait for an eviction.
func (r *room) exceeds(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.placed+r.coming+n-r.limit > r.limit/atOnce
}

// isMeasured reports whether placed was ever measured.
func (r *room) isMeasured() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.measuredAt.IsZero()
}

// hasSpare reports whether the disk has room for n bytes.
func (r *room) hasSpare(n int64) bool {
	spare, low := r.spare()
	if spare-n < low {
		r.wake()
	}
	return spare >= n
}

// giveBack gives back what take took.
func (r *room) giveBack(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.coming -= n
}

// place calls rename, which puts a blob of size bytes in place. The n bytes that were
// taken for the blob are given back in the same step: if they counted twice for a
// moment, other blobs would be evicted.
func (r *room) place(n, size int64, rename func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := rename(); err != nil {
		return err
	}
	r.coming -= n
	r.placed += onDisk(size)
	r.wakeIfFull()
	return nil
}

// change notes that the files in place have n more bytes, or fewer if n is negative.
func (r *room) change(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.placed += n
	r.wakeIfFull()
}

// wakeIfFull must be called with mu held.
func (r *room) wakeIfFull() {
	if r.placed+r.coming > r.limit {
		r.wake()
	}
}

// wake starts an eviction.
func (r *room) wake() { wake(r.full) }

// wake gives a channel a value, unless it has one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// measured notes how many bytes the files in place have, and how many of these are in
// open files and in prefetched blobs that no reader opened. It returns how many bytes
// must be evicted.
func (r *room) measured(placed, inUse, unused int64) (surplus int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.placed, r.inUse, r.unused, r.measuredAt = placed, inUse, unused, time.Now()
	if total := placed + r.coming; total > r.limit {
		surplus = total - r.limit + r.limit/atOnce
	}
	return surplus
}
