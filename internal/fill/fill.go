package fill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Grace is how long a fill goes on without readers.
const Grace = 30 * time.Second

// Patience is how long a reader waits for another process's fill that makes no
// progress.
const Patience = 5 * time.Second

// GraceBytes is how many bytes may come for a fill that has no readers. If these only
// wanted parts of the blob, that is at most graceFactor times the bytes that they got.
const (
	GraceBytes  = 64 << 20
	graceFactor = 200
)

// A Config says how a Filler fills. Its zero value has the defaults.
type Config struct {
	// Grace is how long a fill goes on without readers, and GraceBytes for how many
	// bytes at most. Default: Grace and GraceBytes.
	Grace      time.Duration
	GraceBytes int64

	// Tables is the budget for the leaf tables of all fills. A blob whose table does
	// not fit passes by the cache. Default: an eighth of the process's memory.
	Tables *budget.Budget

	// Patience is how long a reader waits for another process's fill that makes no
	// progress. Default: Patience.
	Patience time.Duration

	// Ended is called when a fill that wrote a file is over, from several goroutines
	// at once. It may be nil.
	Ended func(Outcome)
}

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
	taken   int64       // bytes of the budget for tables
	isOver  bool        // run has ended
	kept    bool        // in the cache
}

func newFill(ctx context.Context, all *shared, l list, s trustless.Session, b Blob) *fill {
	fl := &fill{shared: all, list: l, ended: make(chan struct{}), asked: make(chan struct{})}
	fl.changed, fl.wanted = make(chan struct{}), map[any]int64{}
	fl.ctx, fl.cancel = context.WithCancel(ctx)
	fl.session, fl.blob, fl.spend = s, b, fl.spendGrace
	return fl
}

// run fills the blob. In the end, nothing of it is left in the cache unless it is
// complete.
func (fl *fill) run(fromStart bool) {
	defer close(fl.ended)
	defer fl.cancel()
	if fl.slots != nil {
		defer fl.list.notAhead()
	}
	err := fl.find(fromStart)
	switch {
	case err != nil:
	case fl.partial != nil:
		err = fl.complete()
	case fl.now() == following:
		err = fl.follow()
	}
	if err != nil && fl.ctx.Err() != nil && !errors.Is(err, ErrDigest) {
		err = passedBy{err} // the fill ended, and the gateways did not
	}
	if err != nil {
		fl.finish(err)
	}
	fl.cancel()
	fl.streams.Wait()
	fl.close()
}

// close gives back what a fill has that is over.
func (fl *fill) close() {
	fl.mu.Lock()
	fl.goOn()
	fl.isOver = true
	fl.giveTables()
	err, target := fl.err, fl.target
	fl.mu.Unlock()
	fl.reportOutcome(err)
	if fl.partial != nil {
		_ = fl.partial.Close() // a file that stays is cleared away later
	}
	fl.list.forget(fl)
	if target != nil {
		target.leave()
	}
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
		fl.tables.Give(fl.taken)
		fl.taken = 0
	}
}

// find finds out what the file at the blob's place is. If gateways have to be asked
// for that, and a reader waits for the first byte, the blob is requested at the same
// time.
func (fl *fill) find(fromStart bool) error {
	if fromStart && !fl.session.IsKnown(fl.ctx, fl.blob.Place) {
		return fl.findByRequest(fl.found)
	}
	file, err := fl.session.Resolve(fl.ctx, fl.blob.Place)
	if err != nil {
		return err
	}
	return fl.found(*file)
}

var (
	errRepeats = errors.New("nearly all of the blob is repetition")
	errTables  = errors.New("the leaf tables of blobs on their way take too much memory")
	errNoRoom  = errors.New("there is no free room for a blob that no client has asked for")
	errAlone   = errors.New("another process began to fetch it, and ended")
)

// bytesPerLeaf is about how much memory a leaf of a fill takes.
const bytesPerLeaf = 100

// found begins the file, now that its leaves are known.
func (fl *fill) found(found trustless.File) error {
	file, table := found.CID, found.Table
	if table == nil || table.Size() == 0 {
		return passedBy{unixfs.ErrShape}
	}
	if l, known := fl.lies.Get(file.KeyString()); known && l.digest != fl.blob.Digest && time.Now().Before(l.until) {
		return falseDigest{l.digest}
	}
	fl.file = file
	if other := fl.list.settle(fl, file); other != nil {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		fl.phase, fl.target = moved, other
		fl.broadcast()
		return nil
	}
	if err := fl.mayKeep(table); err != nil {
		return passedBy{err}
	}
	if fl.takeStored(table) {
		return nil
	}
	partial, err := fl.cache.BeginBlob(file, table.Size())
	switch {
	case errors.Is(err, store.ErrBusy):
		return fl.beginFollowing(table)
	case err != nil:
		return passedBy{err}
	}
	fl.beginFetching(partial, table)
	return nil
}

// mayKeep returns the reason why a blob with these leaves passes by the cache, if
// there is one, and takes the memory for them from the budget.
func (fl *fill) mayKeep(table *unixfs.Table) error {
	if repeats(table) {
		return errRepeats
	}
	if fl.slots != nil && !fl.isAsked() && table.Size() > fl.cache.Free() {
		return errNoRoom
	}
	n := int64(len(table.Leaves)) * bytesPerLeaf
	if !fl.tables.Take(n) {
		return errTables
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.taken = n
	return nil
}

// takeStored reports whether the store has the file, and takes it from there.
func (fl *fill) takeStored(table *unixfs.Table) bool {
	s := fl.cache.Store()
	f, err := s.OpenFile(fl.file)
	if err != nil {
		return false
	}
	defer f.Close()
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.begin(fetching, table, func() (*os.File, func(), error) {
		file, err := s.OpenBlob(f.Digest, f.Size)
		return file, func() {}, err
	})
	fl.completeAs(f.Digest)
	return true
}

func (fl *fill) beginFetching(partial *store.Partial, table *unixfs.Table) {
	local := findLocal(fl.index, table)
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.partial = partial
	fl.begin(fetching, table, partial.Open)
	fl.ordered = len(local) == 0 && !fl.parts
	for _, l := range local {
		fl.leaves[l.leaf] = nearby
	}
	if len(local) > 0 {
		fl.streams.Go(func() { fl.copyLocal(fl.cache.Store(), local) })
	}
}

func (fl *fill) beginFollowing(table *unixfs.Table) error {
	f, err := fl.cache.Follow(fl.file)
	if err != nil {
		return passedBy{err}
	}
	f.Close()
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.begin(following, table, func() (*os.File, func(), error) {
		f, err := fl.cache.Follow(fl.file)
		return f, func() {}, err
	})
	return nil
}

// follow takes leaves from the file of another process until the blob is complete.
func (fl *fill) follow() error {
	theirs, err := fl.cache.Follow(fl.file)
	if err != nil {
		if fl.takeStored(fl.table) {
			return nil
		}
		return passedBy{err}
	}
	defer theirs.Close()
	f := &follower{growing: &fl.growing, theirs: theirs, wanted: func() (at []int64) {
		for _, offset := range fl.wanted {
			at = append(at, offset)
		}
		return at
	}}
	return f.follow(fl.ctx, fl.config.Patience, fl.followed)
}

// followed reports whether the other process has ended, and takes the blob if that
// process put it in its place. Its record comes some time after the blob itself.
func (fl *fill) followed() (bool, error) {
	if fl.takeStored(fl.table) {
		return true, nil
	}
	if fl.isInPlace() {
		return false, nil
	}
	partial, err := fl.cache.BeginBlob(fl.file, fl.table.Size())
	if errors.Is(err, store.ErrBusy) {
		return false, nil
	}
	if err != nil {
		return true, passedBy{err}
	}
	err = partial.Close()
	if fl.isInPlace() { // since we looked
		return false, nil
	}
	return true, errors.Join(passedBy{errAlone}, err)
}

func (fl *fill) isInPlace() bool {
	f, err := fl.cache.Store().OpenBlob(fl.blob.Digest, fl.table.Size())
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// complete waits for the last byte, and keeps the blob if it has the digest in the
// request.
func (fl *fill) complete() error {
	done, err := fl.takeTurn()
	if err != nil {
		return err
	}
	defer done()
	d, err := fl.prove()
	if err != nil {
		return err
	}
	if d != fl.blob.Digest {
		fl.lies.Add(fl.file.KeyString(), lie{d, time.Now().Add(lieTime)})
		return falseDigest{d}
	}
	if err := fl.writeTail(); err != nil {
		return err
	}
	fl.mu.Lock()
	fl.completeAs(d)
	fl.mu.Unlock()
	fl.keep()
	return nil
}

// takeTurn has everything fetched. A prefetch waits before until a reader asks for
// the blob, or there are few enough others, and occupies a slot until done is called
// or a reader asks.
func (fl *fill) takeTurn() (done func(), err error) {
	done = func() {}
	if fl.slots != nil {
		select {
		case <-fl.asked:
		case fl.slots <- struct{}{}:
			done = sync.OnceFunc(func() { <-fl.slots })
			go func() {
				select {
				case <-fl.asked:
				case <-fl.ctx.Done():
				}
				done()
			}()
		case <-fl.ctx.Done():
			return done, context.Cause(fl.ctx)
		}
	}
	fl.mu.Lock()
	if fl.readers == 0 && fl.end == nil {
		fl.endLater()
	}
	fl.mu.Unlock()
	fl.fetchAll()
	return done, nil
}

// prove returns the digest of the whole, which it reads as it comes.
func (fl *fill) prove() (digest.Digest, error) {
	hash := digest.SHA256.Hash()
	buf := make([]byte, 256<<10)
	size := fl.table.Size()
	for at := int64(0); at < size; {
		end, err := fl.await(fl.ctx, nil, at, size, false)
		if err != nil {
			return "", err
		}
		for at < end {
			n, err := fl.readAt(buf[:min(int64(len(buf)), end-at)], at)
			if n == 0 {
				return "", passedBy{errors.Join(errors.New("reading what was cached"), err)}
			}
			hash.Write(buf[:n])
			at += int64(n)
		}
	}
	return digest.NewDigest(digest.SHA256, hash), nil
}

// keep puts the blob in its place. Readers have it already, and the cache reports
// what fails.
func (fl *fill) keep() {
	fl.cancel() // streams that bring what is present already, and may hang
	fl.streams.Wait()
	if fl.partial.Sync() != nil {
		return
	}
	if fl.kept = fl.partial.Commit(fl.blob.Digest, fl.file, fl.table) == nil; fl.kept {
		fl.index.Add(fl.blob.Digest, fl.table)
	}
}

// An Outcome says how a fill ended that wrote a file.
type Outcome struct {
	Result  Result
	Fetched int64 // bytes from gateways
	Copied  int64 // bytes from other blobs
}

// A Result is how a fill ended.
type Result string

// How fills end.
const (
	Kept        Result = "kept"
	FalseDigest Result = "false_digest" // the publisher's
	GivenUp     Result = "given_up"     // it had no readers for a while
	Unwritten   Result = "unwritten"    // there was no room, or the cache could not be written
	Failed      Result = "failed"       // no gateway could go on
)

// Results are all results.
var Results = []Result{Kept, FalseDigest, GivenUp, Unwritten, Failed}

func (fl *fill) reportOutcome(err error) {
	if fl.partial == nil || fl.config.Ended == nil {
		return
	}
	o := Outcome{Result: Unwritten, Fetched: fl.fetched.Load(), Copied: fl.copied.Load()}
	_, passed := errors.AsType[passedBy](err)
	switch {
	case err == nil && fl.kept:
		o.Result = Kept
	case errors.Is(err, ErrDigest):
		o.Result = FalseDigest
	case errors.Is(err, context.Canceled):
		o.Result = GivenUp
	case err != nil && !passed:
		o.Result = Failed
	}
	fl.config.Ended(o)
}

// ErrDigest says that a blob does not have the digest that it is published under.
var ErrDigest = errors.New("the blob does not have the digest that it is published under")

// A falseDigest is ErrDigest, with the digest that the blob has.
type falseDigest struct{ has digest.Digest }

func (e falseDigest) Error() string { return fmt.Sprintf("%v: it has %s", ErrDigest, e.has) }
func (e falseDigest) Unwrap() error { return ErrDigest }
