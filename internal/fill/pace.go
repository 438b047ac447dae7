package fill

import (
	"io"
	"os"
	"time"
)

// A fill fetches faster than its readers take, but not the whole blob for readers that
// stopped taking: beside the bytes that they got, it fetches at most window bytes. So a
// client that stalls costs a window and not a blob. For each byte of a part, partShare bytes
// are fetched, so that a blob is kept of which clients want half. While a reader waits for
// bytes, nothing is held back.
const (
	window    = 4 << 20
	partShare = 2
)

// How often a stream that is too far ahead looks at the readers, and how long it waits
// before it ends. The next one begins when a reader waits for its bytes.
const (
	lookFirst = 10 * time.Millisecond
	lookLast  = 320 * time.Millisecond
	maxPause  = 10 * time.Second
)

// isFarAhead reports whether too much was fetched for readers that take too little. Without
// readers, the grace bounds what is fetched. It must be called with mu held.
func (f *fetch) isFarAhead() bool {
	if f.readers == 0 || f.waiting > 0 {
		return false
	}
	enough := f.fetched.Load() + f.copied.Load() - window
	if f.parts {
		enough /= partShare
	}
	return enough > 0 && !f.haveTaken(enough)
}

// haveTaken reports whether readers got n bytes so far. It must be called with mu held.
func (f *fetch) haveTaken(n int64) bool {
	n -= f.given.Load()
	for file, from := range f.sending {
		if n <= 0 {
			break
		}
		if at, err := file.Seek(0, io.SeekCurrent); err == nil {
			n -= max(0, at-from)
		}
	}
	return n <= 0
}

// sends notes that a reader sends the bytes of a file from an offset on, which moves the
// file's own offset. The reader calls sent, with the number of bytes, before it closes the
// file.
func (f *fetch) sends(file *os.File, from int64) (sent func(n int64)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sending[file] = from
	return func(n int64) {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.sending, file)
		f.given.Add(n)
	}
}

// beginWaiting notes that a reader waits for bytes, so that streams go on which were too far
// ahead. It must be called with mu held.
func (f *fetch) beginWaiting() {
	wasFarAhead := f.isFarAhead()
	f.waiting++
	if wasFarAhead {
		f.broadcast()
	}
}

// waitForReaders waits while too much was fetched. It reports false if the readers took too
// little for a while, or if the fill ends.
func (f *fetch) waitForReaders() (goOn bool) {
	pause, end := lookFirst, time.Now().Add(maxPause)
	for {
		f.mu.Lock()
		isFarAhead, changed := f.isFarAhead(), f.changed
		f.mu.Unlock()
		if !isFarAhead {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		select {
		case <-changed:
		case <-time.After(pause):
			pause = min(2*pause, lookLast)
		case <-f.ctx.Done():
			return false
		}
	}
}
