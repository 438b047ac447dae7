package fill

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

var errHangs = errors.New("another process is fetching it, and makes no progress")

// A follower reads the file that another process is filling. It verifies leaves to find
// out which are present.
type follower struct {
	*growing
	wanted func() []int64 // offsets at which readers wait, called with mu held
	theirs *os.File
	buf    []byte
	seen   fs.FileInfo // of theirs at the last look
	again  bool        // theirs had changed then, and its time may be too coarse to show another change
}

// lookAgain is how often the other process's file is looked at.
const lookAgain = 10 * time.Millisecond

// follow notes which leaves are present until isOver reports that the other process has
// ended, or until that process makes no progress for longer than patience.
func (f *follower) follow(ctx context.Context, patience time.Duration, isOver func() (bool, error)) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	f.buf = make([]byte, unixfs.MaxLeaf)
	progress := time.Now()
	for {
		if f.hasChanged() && f.takeIn() {
			progress = time.Now()
		} else if over, err := isOver(); over {
			return err
		} else if time.Since(progress) > patience {
			return passedBy{errHangs}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hasChanged reports whether the file may have changed since the last look.
func (f *follower) hasChanged() bool {
	info, err := f.theirs.Stat()
	if err != nil {
		return false
	}
	changed := f.seen == nil || info.Size() != f.seen.Size() || !info.ModTime().Equal(f.seen.ModTime())
	look := changed || f.again
	f.seen, f.again = info, changed
	return look
}

// takeIn notes leaves that have arrived after the present ones or where readers wait,
// and reports whether there are any.
func (f *follower) takeIn() (came bool) {
	f.mu.Lock()
	at := []int{f.prefix}
	for _, offset := range f.wanted() {
		i, _ := f.table.Span(offset, offset+1)
		at = append(at, i)
	}
	f.mu.Unlock()
	slices.Sort(at)
	for _, i := range slices.Compact(at) {
		for ; i < len(f.leaves) && f.verify(i); i++ {
			came = true
		}
	}
	return came
}

// verify reports whether a leaf has become present.
func (f *follower) verify(i int) bool {
	leaf := f.buf[:f.table.Len(i)]
	if n, _ := f.theirs.ReadAt(leaf, f.table.Start(i)); n < len(leaf) || !f.table.Verify(i, leaf) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leaves[i] == present {
		return false
	}
	f.arrived(i)
	f.broadcast()
	return true
}

// follow takes leaves from the file of another process until the blob is complete. If that
// process ends before, follow begins to fetch the blob instead.
func (fl *fill) follow() error {
	defer fl.theirs.Close()
	f := &follower{growing: &fl.growing, theirs: fl.theirs, wanted: func() (at []int64) {
		for _, part := range fl.wanted {
			at = append(at, part.from)
		}
		return at
	}}
	return f.follow(fl.ctx, fl.config.Patience, fl.followed)
}

// followed reports whether the other process has ended. If that process has put the blob
// in its place, followed takes it from there. The record comes some time after the blob.
func (fl *fill) followed() (bool, error) {
	if fl.takeStored(fl.table) {
		return true, nil
	}
	if fl.isInPlace(fl.table) {
		return false, nil
	}
	partial, err := fl.cache.BeginBlob(fl.file, fl.table.Size())
	if errors.Is(err, store.ErrBusy) {
		return false, nil
	}
	if err != nil {
		return true, passedBy{err}
	}
	if fl.isInPlace(fl.table) { // since we looked
		_ = partial.Close() // an empty file that stays is removed by a later process
		return false, nil
	}
	fl.beginFetching(partial, fl.table)
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.dispatch()
	return true, nil
}

func (fl *fill) isInPlace(table *unixfs.Table) bool {
	f, err := fl.cache.Store().OpenBlob(fl.blob.Digest, table.Size())
	if err != nil {
		return false
	}
	f.Close()
	return true
}
