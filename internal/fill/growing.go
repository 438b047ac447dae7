package fill

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A fill is a blob on its way into the cache.
type fill struct {
	filler  *Filler
	session trustless.Session // of whoever asked first
	blob    Blob
	slots   chan struct{} // of which a fill takes one that nobody asked for; or nil

	ctx     context.Context
	cancel  context.CancelFunc
	streams sync.WaitGroup
	ended   chan struct{}

	file    cid.Cid        // what stands at the blob's place
	partial *store.Partial // nil where the store had the blob, or another process has
	theirs  *os.File       // of another process; or nil
	local   []localLeaf
	fetched atomic.Int64 // bytes
	copied  atomic.Int64 // bytes
	kept    bool
	also    []string // places whose readers came to this fill; the filler's

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when anything below changes
	readers int
	end     *time.Timer   // runs while there are none
	asked   chan struct{} // closed with the first reader

	table  *unixfs.Table // nil until it is known
	path   string        // of the growing file
	leaves []state
	claims []*stream
	wanted map[*reader]int64 // offsets at which readers wait
	all    bool              // also what nobody waits for is fetched
	parts  bool              // were asked for

	// While ordered, the file grows from its beginning to its end, and what is in it
	// may be given as a file, to whoever takes all of it that is there when they
	// come to its end. The last leaf is kept back until the digest is known.
	ordered bool
	lent    int    // times that the file is given so at the moment
	tail    []byte // what is kept back
	failed  error  // of gateways; the next reader has it tried again

	digest digest.Digest // once it is known
	over   error         // why there is nothing more to come
	moved  *fill         // the same file, which began earlier
}

// A state is where a leaf is.
type state byte

const (
	missing state = iota
	nearby        // in another blob, and about to be copied
	held          // the last one, until the digest is known
	there
)

// passedBy is an error that is no reason not to ask the gateways.
type passedBy struct{ error }

func (e passedBy) Unwrap() error { return e.error }

func newFill(f *Filler, s trustless.Session, b Blob) *fill {
	fl := &fill{
		filler: f, session: s, blob: b,
		changed: make(chan struct{}), asked: make(chan struct{}), ended: make(chan struct{}),
		wanted: map[*reader]int64{},
	}
	fl.ctx, fl.cancel = context.WithCancel(f.ctx)
	return fl
}

// enter counts one more reader, who may want something from the middle.
func (fl *fill) enter(part bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.parts = fl.parts || part
	if fl.parts && fl.lent == 0 {
		fl.ordered = false
	}
	fl.readers++
	fl.goOn()
	fl.failed = nil
	select {
	case <-fl.asked:
	default:
		close(fl.asked)
	}
}

func (fl *fill) leave() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.readers--; fl.readers == 0 {
		fl.endLater()
	}
}

// lives reports whether all of the blob is there, or still can come.
func (fl *fill) lives() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.digest != "" || fl.ctx.Err() == nil && fl.over == nil
}

// endLater is called with mu held, when there are no readers.
func (fl *fill) endLater() {
	if fl.digest != "" || fl.ctx.Err() != nil {
		return // it ends anyway
	}
	if fl.filler.idle.Add(1) > maxIdle {
		fl.filler.idle.Add(-1)
		fl.cancel()
		return
	}
	fl.end = time.AfterFunc(fl.filler.config.Grace, func() {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		if fl.readers == 0 && fl.digest == "" {
			fl.cancel()
		}
	})
}

// goOn undoes endLater. It is called with mu held.
func (fl *fill) goOn() {
	if fl.end != nil {
		fl.end.Stop()
		fl.end = nil
		fl.filler.idle.Add(-1)
	}
}

// run fills the blob. Whatever it returns on, there is nothing left of it but
// what is complete.
func (fl *fill) run(fromStart bool) {
	defer close(fl.ended)
	defer fl.cancel()
	if fl.slots != nil {
		defer fl.notAhead()
	}
	err := fl.find(fromStart)
	switch {
	case err != nil:
	case fl.partial != nil:
		err = fl.complete()
	case fl.theirs != nil:
		err = fl.watch()
	}
	if err != nil && fl.ctx.Err() != nil && !errors.Is(err, ErrDigest) {
		err = passedBy{err} // we end, and the gateways do not
	}
	fl.finish(err)
	fl.cancel()
	fl.mu.Lock()
	fl.goOn()
	over := fl.over
	fl.mu.Unlock()
	fl.streams.Wait()
	fl.tell(over)
	if fl.partial != nil {
		_ = fl.partial.Close() // what cannot be removed is rubbish in tmp
	}
	fl.filler.forget(fl)
	if fl.moved != nil {
		fl.moved.leave()
	}
}

func (fl *fill) notAhead() {
	fl.filler.mu.Lock()
	defer fl.filler.mu.Unlock()
	fl.filler.ahead--
}

// finish tells readers that nothing more will come.
func (fl *fill) finish(err error) {
	if err == nil {
		return
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.over == nil {
		fl.over = err
	}
	fl.broadcast()
}

// broadcast is called with mu held.
func (fl *fill) broadcast() {
	close(fl.changed)
	fl.changed = make(chan struct{})
}

// write takes verified bytes.
func (fl *fill) write(b []byte, at int64) error {
	_, err := fl.partial.WriteAt(b, at)
	if err != nil {
		fl.stop(err)
	}
	return err
}

// stop has everybody go on without the cache.
func (fl *fill) stop(err error) {
	fl.finish(passedBy{err})
	fl.cancel()
}
