package fill

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A client that stalls causes a window of the blob to be fetched. When it goes on, or another
// client comes, the rest is.
func TestStalledReaderCostsAWindow(t *testing.T) {
	content := random(110, large)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	b := serve(t, t.TempDir(), room, g)
	stalled, held := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		c := &client{want: content, slow: sync.OnceFunc(func() { close(stalled); <-held })}
		if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong || c.n != int64(len(content)) {
			t.Errorf("the client that stalled got %d bytes: %v", c.n, err)
		}
	})
	<-stalled
	b.mu.Lock()
	fl := b.places[blob.key()]
	b.mu.Unlock()
	if err := fl.wait(t.Context(), fl.isFarAhead); err != nil {
		t.Fatal(err)
	}
	<-time.After(20 * lookFirst) // in which all would come
	if n := fl.fetched.Load(); n > window+window/4 {
		t.Errorf("%d bytes were fetched for a client that took none of them; the window has %d", n, window)
	}
	check(t, b.get(t.Context(), blob, content, nil))
	close(held)
	all.Wait()
	b.mustKeep(t, blob, content)
}

// A stream that is too far ahead of its readers goes on when they take more, when one of them
// waits, or when all have left. It ends if nothing of that happens for a while.
func TestStreamWaitsForReaders(t *testing.T) {
	for _, c := range []struct {
		what string
		then func(*fetch)
		goOn bool
	}{
		{"nothing happens", func(*fetch) {}, false},
		{"a reader gets more", func(f *fetch) { f.given.Add(window) }, true},
		{"a reader waits", (*fetch).beginWaiting, true},
		{"all readers leave", func(f *fetch) { f.readers = 0 }, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fetch{readers: 1}
			f.ctx, f.changed = t.Context(), make(chan struct{})
			f.fetched.Store(window + 2)
			time.AfterFunc(time.Second, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				c.then(f)
			})
			began := time.Now()
			goOn := f.waitForReaders()
			if after := time.Since(began); goOn != c.goOn || goOn && after > time.Second+lookLast || !goOn && after < maxPause {
				t.Errorf("%s: it goes on: %v, after %v", c.what, goOn, after)
			}
		})
	}
}

// A stream that waits for readers ends with its fill.
func TestStreamThatWaitsEndsWithItsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &fetch{readers: 1}
		f.ctx, f.changed = ctx, make(chan struct{})
		f.fetched.Store(window + 2)
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if f.waitForReaders() || time.Since(began) != time.Second {
			t.Errorf("it goes on after %v", time.Since(began))
		}
	})
}
