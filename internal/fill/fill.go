package fill

import (
	"context"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A lie is a file that is published under another digest than it has.
type lie struct {
	digest digest.Digest // that it has
	until  time.Time     // when the file is looked at again
}

// lieTime is how long a lie is believed.
const lieTime = 10 * time.Minute

// maxIdle is how many fills without readers go on.
const maxIdle = 64

// shared is what all fills have in common.
type shared struct {
	config Config
	cache  *store.Cache
	index  *store.LeafIndex
	tables *budget.Budget
	lies   *lru.Cache[string, lie] // by CID
	idle   atomic.Int64            // fills without readers
}

// A list of fills, which knows them by place and by file.
type list interface {
	settle(fl *fill, file cid.Cid) *fill
	forget(fl *fill)
	notAhead()
}

// A fill is a blob on its way into the cache.
type fill struct {
	fetch
	*shared
	list  list
	slots chan struct{} // that a prefetch takes one of; or nil
	ended chan struct{}
	asked chan struct{} // closed with the first reader
	given atomic.Int64  // bytes that readers got
	whole atomic.Bool   // a reader wanted all of it
	file  cid.Cid       // what is at the blob's place
	also  []string      // other places whose readers came to this fill; the filler's

	// Guarded by mu.
	readers int
	end     *time.Timer // runs while there are none
	grace   int64       // bytes that may come while there are none
	target  *fill       // in phase moved
	release func()      // of the leaf table's memory
	isOver  bool        // run has ended
	kept    bool        // in the cache
}

func newFill(ctx context.Context, all *shared, l list, s trustless.Session, b Blob) *fill {
	fl := &fill{shared: all, list: l, ended: make(chan struct{}), asked: make(chan struct{}), release: func() {}}
	fl.changed, fl.wanted = make(chan struct{}), map[any]int64{}
	fl.ctx, fl.cancel = context.WithCancel(ctx)
	fl.session, fl.blob, fl.spend = s, b, fl.spendGrace
	return fl
}

func (fl *fill) now() phase {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.phase
}

// lives reports whether all of the blob is present, or can still come.
func (fl *fill) lives() bool {
	p := fl.now()
	return p == complete || p != over && fl.ctx.Err() == nil
}

// enter counts one more reader, which may want a part that does not begin at 0.
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
	if !fl.isAsked() {
		close(fl.asked)
	}
}

func (fl *fill) leave() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.readers--; fl.readers == 0 {
		fl.endLater()
		fl.giveTables()
	}
}

func (fl *fill) isAsked() bool {
	select {
	case <-fl.asked:
		return true
	default:
		return false
	}
}

// endLater ends a fill that has no readers: after a while, or when it has brought
// many more bytes than its readers wanted. It must be called with mu held.
func (fl *fill) endLater() {
	if fl.phase == complete || fl.ctx.Err() != nil {
		return // it ends anyway
	}
	if fl.idle.Add(1) > maxIdle {
		fl.idle.Add(-1)
		fl.cancel()
		return
	}
	fl.grace = fl.config.GraceBytes
	if !fl.whole.Load() {
		fl.grace = min(fl.grace, graceFactor*fl.given.Load())
	}
	fl.end = time.AfterFunc(fl.config.Grace, func() {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		if fl.readers == 0 && fl.phase != complete {
			fl.cancel()
		}
	})
}

// goOn undoes endLater. It must be called with mu held.
func (fl *fill) goOn() {
	if fl.end != nil {
		fl.end.Stop()
		fl.end = nil
		fl.idle.Add(-1)
	}
}

// spendGrace ends a fill that brings too many bytes without readers. A prefetch is
// bounded otherwise, as long as it has had none.
func (fl *fill) spendGrace(n int) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.end == nil || !fl.isAsked() {
		return
	}
	if fl.grace -= int64(n); fl.grace < 0 {
		fl.cancel()
	}
}

// giveTables gives the memory of the leaf table back to the budget, once the fill has
// ended and its readers have left. It must be called with mu held.
func (fl *fill) giveTables() {
	if fl.isOver && fl.readers == 0 {
		fl.release()
	}
}
