package fill

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A lie is a file that is published under a digest that it does not have.
type lie struct {
	digest digest.Digest // the one that it has
	until  time.Time     // the file is fetched again from then on
}

const (
	lieTime = 10 * time.Minute // for which a lie is remembered
	maxLies = 4096             // that are remembered
)

// maxIdle is how many fills without readers may continue.
const maxIdle = 64

// shared is what all fills of a Filler have in common.
type shared struct {
	config      Config
	cache       *store.Cache
	index       *store.LeafIndex
	tables      *budget.Budget
	aheadTables *budget.Budget          // for prefetches, a part of tables
	lies        *lru.Cache[string, lie] // by CID
	idle        atomic.Int64            // fills without readers
	together    grace                   // of these
}

// A list of fills knows them by place and by file.
type list interface {
	settle(fl *fill, file cid.Cid) *fill
	forget(fl *fill)
	notAhead()
}

// A fill is a blob on its way into the cache.
type fill struct {
	fetch
	*shared
	list     list
	slots    chan struct{} // a prefetch takes one of these to fetch; nil for other fills
	declared int64         // bytes that a prefetched blob should have
	ended    chan struct{} // closed when run returns
	asked    chan struct{} // closed with the first reader
	whole    atomic.Bool   // a reader wanted all of it
	file     cid.Cid       // the file at the blob's place
	also     []string      // other places whose readers came to this fill; guarded by list
	theirs   *os.File      // the file that another process is filling, in phase following

	// Guarded by mu.
	end     *time.Timer // runs while there are no readers
	grace   int64       // bytes that may still come without readers
	target  *fill       // in phase moved
	release func()      // gives back the memory of the leaf table
	// unreserve gives back the room that is reserved for a prefetch without readers.
	unreserve func()
	isOver    bool // run has ended
	kept      bool // the blob is in the cache
}

func newFill(ctx context.Context, all *shared, l list, s trustless.Session, b Blob) *fill {
	fl := &fill{shared: all, list: l, ended: make(chan struct{}), asked: make(chan struct{}), release: func() {}, unreserve: func() {}}
	fl.changed, fl.wanted, fl.sending = make(chan struct{}), map[any]span{}, map[*os.File]int64{}
	fl.ctx, fl.cancel = context.WithCancel(ctx)
	fl.session, fl.blob, fl.spend, fl.keepPace = s, b, fl.spendGrace, fl.waitForReaders
	return fl
}

func (fl *fill) now() phase {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.phase
}

// lives reports whether all of the blob is present, or may still come.
func (fl *fill) lives() bool {
	p := fl.now()
	return p == complete || p != over && fl.ctx.Err() == nil
}

// enter counts one more reader. part says whether it begins after byte 0.
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
	fl.unreserve()
	if !fl.isAsked() {
		close(fl.asked)
	}
}

func (fl *fill) leave() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.readers--; fl.readers == 0 {
		fl.broadcast()
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

// isUsed reports whether the fill has had a reader, or is not a prefetch.
func (fl *fill) isUsed() bool { return fl.slots == nil || fl.isAsked() }

// fetchAllIfWanted begins to fetch all of the blob if a reader wants the whole, or if
// readers got so much that the whole is a fair multiple of it.
func (fl *fill) fetchAllIfWanted() {
	if !fl.isUsed() || fl.whole.Load() || fl.given.Load()*graceFactor >= fl.table.Size() {
		fl.fetchAll()
	}
}

// giveTables gives the memory of the leaf table back to the budget once the fill has
// ended and its readers have left. It must be called with mu held.
func (fl *fill) giveTables() {
	if fl.isOver && fl.readers == 0 {
		fl.release()
	}
}
