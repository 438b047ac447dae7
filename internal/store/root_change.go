package store

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Changed says what a change of the root led to.
type Changed struct {
	// State is the state after the change. Its actions are those of this change alone,
	// with addresses; other changes may have been made together with it.
	State State

	// IsNew is false if the change left the root as it was.
	IsNew bool
}

// A rootChange is a change that waits until it is made.
type rootChange struct {
	ctx  context.Context
	make func(context.Context, *Draft) error

	actions []Action
	isNew   bool
	state   State
	err     error
	done    chan struct{} // closed when the change was made, or failed
}

// maxTogether is how many changes are made together at most.
const maxTogether = 256

// Change makes a change of the root. The function changes a draft of the next state; it may
// be called late, and on top of other changes that nobody has seen yet. If it fails, Change
// returns its error, and the draft is as it was before. If Change returns no error, the
// change is durable. If ctx is done, the change may happen all the same.
func (r *Root) Change(ctx context.Context, change func(context.Context, *Draft) error) (Changed, error) {
	c := &rootChange{ctx: ctx, make: change, done: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, c)
	if !r.working {
		r.working = true
		go r.work()
	}
	r.mu.Unlock()
	select {
	case <-c.done:
		return Changed{c.state, c.isNew}, c.err
	case <-ctx.Done():
		return Changed{}, context.Cause(ctx)
	}
}

// work makes changes until none waits.
func (r *Root) work() {
	for {
		r.mu.Lock()
		if len(r.waiting) == 0 {
			r.working = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		err := r.changeWaiting()
		if err == nil {
			continue
		}
		for _, c := range r.takeWaiting() {
			c.finish(err)
		}
	}
}

// takeWaiting returns changes that wait, which wait no longer.
func (r *Root) takeWaiting() []*rootChange {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), maxTogether)
	taken := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	return taken
}

func (r *Root) changeWaiting() error {
	im, err := r.store.BeginImport()
	if err != nil {
		return err
	}
	defer im.Close() // what it leaves is removed by the next import
	if err := im.Lock(context.Background()); err != nil {
		return err
	}
	return im.changeRoot(context.Background(), r.takeWaiting)
}

func (c *rootChange) finish(err error) {
	if c.err == nil {
		c.err = err
	}
	close(c.done)
}

// ChangeRoot is Root.Change within an import: the files that the import puts in place are
// kept from then on if the new state has them. The import must be locked, and is unlocked
// afterwards.
func (im *Import) ChangeRoot(ctx context.Context, change func(context.Context, *Draft) error) (Changed, error) {
	if im.lock == nil {
		return Changed{}, errNotLocked
	}
	defer im.unlock()
	c := &rootChange{ctx: ctx, make: change, done: make(chan struct{})}
	if err := im.changeRoot(ctx, func() []*rootChange { return []*rootChange{c} }); err != nil {
		return Changed{}, err
	}
	return Changed{c.state, c.isNew}, c.err
}

// changeRoot makes the changes that take returns once the root is locked. Its error is that
// of a root that could not be locked or read; then take was not called.
func (im *Import) changeRoot(ctx context.Context, take func() []*rootChange) error {
	r := im.store.root
	lock, err := im.lockRoot(ctx)
	if err != nil {
		return err
	}
	defer release(lock)
	current, err := r.current()
	if err != nil {
		return err
	}
	log, err := r.openLog(os.O_RDWR)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := log.mend(current); err != nil {
		return fmt.Errorf("mending %s: %w", r.path("log"), err)
	}
	changes := take()
	failed := im.makeChanges(log, current, changes)
	for _, c := range changes {
		c.finish(failed)
	}
	return nil
}

// lockRoot keeps others from changing the root. The import is locked already, in every
// process that waits here, so that no collection comes between two of them.
func (im *Import) lockRoot(ctx context.Context) (*flock.Flock, error) {
	r := im.store.root
	if err := r.checkOwner(); err != nil {
		return nil, err
	}
	var lock *flock.Flock
	err := im.retry(func() (err error) {
		if err = im.mkdirs(r.dir()); err == nil {
			lock, err = acquire(ctx, r.path("lock"), exclusive)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("locking the root: %w", err)
	}
	return lock, nil
}

// makeChanges makes changes one on top of the other, and their result the current state. Its
// error is for all of them.
func (im *Import) makeChanges(log *logFile, current cid.Cid, changes []*rootChange) error {
	draft := newDraft(im, current)
	var actions []*Action
	for _, c := range changes {
		draft.make(c)
		for i := range c.actions {
			actions = append(actions, &c.actions[i])
		}
	}
	next := State{Root: draft.root, Time: im.store.root.now().UTC(), Kept: true}
	isNew := !draft.root.Equals(current)
	if err := draft.address(actions); err != nil {
		return err
	}
	for _, a := range actions {
		next.Actions = append(next.Actions, *a)
	}
	if err := im.storeDraft(draft, actions); err != nil {
		return err
	}
	if isNew {
		if err := im.commitState(log, next); err != nil {
			return err
		}
	}
	for _, c := range changes {
		c.state = next
		c.state.Actions = c.actions
	}
	return nil
}

// storeDraft stores the blocks of a draft that its root or an address leads to, durably.
func (im *Import) storeDraft(d *Draft, actions []*Action) error {
	blocks, blobs, err := d.used(actions)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if err := im.Blob(b.path, b.digest, b.file); err != nil {
			return err
		}
	}
	var group errgroup.Group
	group.SetLimit(maxWriters)
	for _, b := range blocks {
		group.Go(func() error { return im.nodeOnce(b) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("storing directories and small files: %w", err)
	}
	return im.sync()
}

// maxWriters is how many files are written or synced at a time. Each one waits for the disk,
// which can serve several at once.
const maxWriters = 16

// nodeOnce is Node that writes nothing if the store has the block already.
func (im *Import) nodeOnce(b unixfs.Block) error {
	data, err := im.store.readNode(b.CID)
	if err != nil || (unixfs.Block{CID: b.CID, Data: data}).Verify() != nil {
		return im.Node(b)
	}
	im.mu.Lock() // the import that wrote it may not have synced it yet
	defer im.mu.Unlock()
	return im.mkdirs(im.store.nodeDir(b.CID))
}

// commitState appends a state to the log, and makes it the current one, with a record that
// names it.
func (im *Import) commitState(log *logFile, next State) error {
	r := im.store.root
	line, err := next.encode()
	if err != nil {
		return err
	}
	before := log.size
	if err := log.append(line); err != nil {
		return fmt.Errorf("writing %s: %w", r.path("log"), err)
	}
	if before == 0 { // the log may be new
		err = atomicfile.SyncDir(r.dir())
	}
	signed := false
	if err == nil {
		signed, err = im.stageState(next.Root)
	}
	if err == nil {
		err = r.unstage("current")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", r.path("current"), err), log.cut(before))
	}
	if signed {
		_ = r.unstage("record") // Signed signs it again, and reports the failure
	}
	return atomicfile.SyncDir(r.dir())
}

// stageState writes the files that make root the current state. It reports whether a record
// is among them.
func (im *Import) stageState(root cid.Cid) (signed bool, err error) {
	r := im.store.root
	mode, err := r.mode()
	if err != nil {
		return false, err
	}
	var group errgroup.Group // which waits for the disk once
	group.Go(func() error {
		return im.retry(func() error { return r.stage("current", []byte(rootName(root)+"\n"), mode) })
	})
	group.Go(func() error {
		signed = r.stageRecordOf(root)
		return nil
	})
	err = group.Wait()
	return signed, err
}
