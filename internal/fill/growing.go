package fill

import (
	"context"
	"errors"
	"io/fs"
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
	fl.end = time.AfterFunc(fl.filler.Grace, func() {
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

// find finds out what stands at the blob's place. Where that takes asking, and
// somebody waits for the first byte, the blob is asked for at the same time.
func (fl *fill) find(fromStart bool) error {
	if fromStart && !fl.session.IsKnown(fl.ctx, fl.blob.Root, fl.blob.Path) {
		return fl.findByStream()
	}
	file, table, err := fl.session.Resolve(fl.ctx, fl.blob.Root, fl.blob.Path)
	if err != nil {
		return err
	}
	return fl.found(file, table)
}

// found begins the file, now that its leaves are known.
func (fl *fill) found(file cid.Cid, table *unixfs.Table) error {
	if table == nil || table.Size() == 0 {
		return passedBy{unixfs.ErrShape}
	}
	if l, known := fl.filler.lies.Get(file.KeyString()); known && l.digest != fl.blob.Digest && time.Now().Before(l.until) {
		return falseDigest{l.digest}
	}
	fl.file = file
	if other := fl.filler.settle(fl, file); other != nil {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		fl.moved = other
		fl.broadcast()
		return nil
	}
	if f, err := fl.filler.cache.Store().OpenBlob(file); err == nil {
		defer f.Close()
		fl.has(f, table)
		return nil
	}
	partial, err := fl.filler.cache.Begin(file, table.Size())
	switch {
	case errors.Is(err, store.ErrBusy):
		return fl.follow(table)
	case err != nil:
		return passedBy{err}
	}
	fl.begin(partial, table)
	return nil
}

// has takes the file that the store has.
func (fl *fill) has(f *store.File, table *unixfs.Table) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.table, fl.path, fl.digest = table, f.Name(), f.Digest
	fl.leaves = make([]state, len(table.Leaves))
	for i := range fl.leaves {
		fl.leaves[i] = there
	}
	fl.broadcast()
}

func (fl *fill) begin(partial *store.Partial, table *unixfs.Table) {
	local := fl.filler.nearby(table)
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.partial, fl.local = partial, local
	fl.table, fl.path, fl.leaves = table, partial.Path(), make([]state, len(table.Leaves))
	fl.ordered = len(local) == 0 && !fl.parts
	for _, l := range local {
		fl.leaves[l.leaf] = nearby
	}
	if len(local) > 0 {
		fl.streams.Go(fl.copyNearby)
	}
	fl.broadcast()
}

// complete waits for the last byte, and keeps the blob if it is what it was asked
// for by.
func (fl *fill) complete() error {
	done, err := fl.turn()
	if err != nil {
		return err
	}
	defer done()
	d, err := fl.prove()
	if err != nil {
		return err
	}
	if d != fl.blob.Digest {
		fl.filler.lies.Add(fl.file.KeyString(), lie{d, time.Now().Add(lieTime)})
		return falseDigest{d}
	}
	if err := fl.release(); err != nil {
		return err
	}
	fl.mu.Lock()
	fl.digest = d
	fl.broadcast()
	fl.mu.Unlock()
	fl.keep()
	return nil
}

// turn waits until somebody asks for what was prefetched, or there is room for
// one more of these, and then has everything fetched.
func (fl *fill) turn() (done func(), err error) {
	done = func() {}
	if fl.slots != nil {
		select {
		case <-fl.asked:
		case fl.slots <- struct{}{}:
			done = sync.OnceFunc(func() { <-fl.slots })
			go func() { // who is asked for is prefetched no more
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
	defer fl.mu.Unlock()
	fl.all = true
	if fl.readers == 0 && fl.end == nil {
		fl.endLater()
	}
	fl.dispatch()
	return done, nil
}

// keep puts the blob in its place. Readers have it by then, or wait until that is
// done. What fails the cache knows, and nobody else has to.
func (fl *fill) keep() {
	fl.cancel() // streams that bring what is there already, and may hang
	fl.streams.Wait()
	if fl.partial.Sync() != nil {
		return
	}
	if fl.kept = fl.partial.Commit(fl.digest, fl.file, fl.table) == nil; fl.kept {
		fl.filler.leaves.Add(fl.digest, fl.table)
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.path = fl.partial.Path()
}

// open opens the growing file.
func (fl *fill) open(ctx context.Context) (*os.File, error) {
	f, err := os.Open(fl.where())
	if errors.Is(err, fs.ErrNotExist) { // it is being put in its place
		select {
		case <-fl.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		f, err = os.Open(fl.where())
	}
	if err != nil {
		return nil, passedBy{err}
	}
	return f, nil
}

func (fl *fill) where() string {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.path
}

// await waits until there are bytes at an offset, and returns how far they go.
// Nobody has them fetched because of it where reader is nil. The end of the blob
// is there once its digest is known, to whoever would take it for the whole.
func (fl *fill) await(ctx context.Context, r *reader, from, to int64, whole bool) (int64, error) {
	for {
		fl.mu.Lock()
		end := fl.available(from, to, whole, r == nil)
		changed, err := fl.changed, fl.why(from, end == from)
		if end == from && err == nil && r != nil {
			fl.want(r, from)
		}
		fl.mu.Unlock()
		if end > from || err != nil {
			return end, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return from, context.Cause(ctx)
		}
	}
}

// available returns how far bytes go that are there, and for the proof also those
// that are kept back.
func (fl *fill) available(from, to int64, whole, proof bool) int64 {
	if whole && fl.digest == "" {
		to = min(to, fl.table.Start(len(fl.leaves)-1))
	}
	if from >= to {
		return from
	}
	i, j := fl.table.Span(from, to)
	for ; i < j && (fl.leaves[i] == there || proof && fl.leaves[i] == held); i++ {
		from = min(to, fl.table.Leaves[i].End)
	}
	return from
}

// why returns the reason why bytes at an offset will not come.
func (fl *fill) why(from int64, lacking bool) error {
	switch {
	case !lacking:
		return nil
	case fl.over != nil:
		return fl.over
	case fl.failed != nil && !fl.isClaimed(from):
		return fl.failed
	}
	return nil
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
