package store

import "sync"

// A room counts the bytes that a cache takes.
type room struct {
	// spare returns how many bytes the disk has beyond those that must stay free, and
	// below how many of them eviction begins.
	spare func() (bytes, low int64)

	full chan struct{} // has a value when there is something to evict

	mu     sync.Mutex
	limit  int64 // bytes
	placed int64 // bytes of files in place, as far as is known
	coming int64 // bytes of blobs on their way in, and of removed ones that are being read
	inUse  int64 // bytes of those in place that were being read at the last eviction
}

// Once there is too much in the cache, this part of its limit is evicted beyond what
// has to go, so that a cache in use is not always evicting.
const atOnce = 10

// onDisk returns how many bytes of the disk a file takes, about.
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

// evictable returns how many bytes could be evicted, as far as is known.
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

// fits reports whether there would be room for a blob if all else was evicted.
func (r *room) fits(size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return size <= r.limit
}

// take takes room for n bytes of a blob on its way in, or reports that there is none
// beside those that cannot be evicted. The bytes that blobs are going to have do not
// count, or a blob of which nothing comes would take all the room.
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

// place calls rename, which puts a blob of size bytes in place, of which n bytes were
// taken. No byte counts twice meanwhile, or others would be evicted for it.
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

// change notes that there are more bytes in place, or fewer.
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

// wake has room made.
func (r *room) wake() {
	select {
	case r.full <- struct{}{}:
	default:
	}
}

// measured takes how many bytes are in place, and how many of these are being read.
// It returns how many have to go, if any.
func (r *room) measured(placed, inUse int64) (surplus int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.placed, r.inUse = placed, inUse
	if total := placed + r.coming; total > r.limit {
		surplus = total - r.limit + r.limit/atOnce
	}
	return surplus
}
