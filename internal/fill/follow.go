package fill

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// errHangs says that the process brings nothing whose fill was followed.
var errHangs = errors.New("another process is fetching it, and brings nothing")

// errAlone says that the process is gone whose fill was followed.
var errAlone = errors.New("another process began to fetch it, and ended")

// follow reads what another process is fetching, as it comes. Which leaves are
// there it does not tell us, but they tell themselves.
func (fl *fill) follow(table *unixfs.Table) error {
	f, err := fl.filler.cache.Follow(fl.file)
	if err != nil {
		return passedBy{err}
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.theirs, fl.table, fl.path, fl.leaves = f, table, f.Name(), make([]state, len(table.Leaves))
	fl.broadcast()
	return nil
}

// lookAgain is how often the other's file is looked at.
const lookAgain = 10 * time.Millisecond

// watch sees to it that what comes is seen, until the other process has put the
// blob in its place, or given it up.
func (fl *fill) watch() error {
	defer fl.theirs.Close()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	buf := make([]byte, unixfs.MaxLeaf)
	came := time.Now()
	for {
		if fl.takeIn(buf) {
			came = time.Now()
		} else if over, err := fl.isOver(); over {
			return err
		} else if time.Since(came) > fl.filler.config.Patience {
			return passedBy{errHangs}
		}
		select {
		case <-tick.C:
		case <-fl.ctx.Done():
			return context.Cause(fl.ctx)
		}
	}
}

// takeIn reports whether there is anything new: in the order of the file, or
// where readers wait.
func (fl *fill) takeIn(buf []byte) (came bool) {
	fl.mu.Lock()
	at := []int{fl.prefix()}
	for _, offset := range fl.wanted {
		i, _ := fl.table.Span(offset, offset+1)
		at = append(at, i)
	}
	fl.mu.Unlock()
	slices.Sort(at)
	for _, i := range slices.Compact(at) {
		for ; i < len(fl.leaves) && fl.isThere(i, buf); i++ {
			came = true
		}
	}
	return came
}

// prefix returns the first leaf that is not there.
func (fl *fill) prefix() int {
	for i, s := range fl.leaves {
		if s != there {
			return i
		}
	}
	return len(fl.leaves)
}

// isThere reports whether the other's file has a leaf that was not there before.
func (fl *fill) isThere(i int, buf []byte) bool {
	leaf := buf[:fl.table.Len(i)]
	if n, _ := fl.theirs.ReadAt(leaf, fl.table.Start(i)); n < len(leaf) || !fl.table.Verify(i, leaf) {
		return false
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.leaves[i] == there {
		return false
	}
	fl.leaves[i] = there
	fl.broadcast()
	return true
}

// isOver reports whether the other process fetches no more, and takes the blob if
// it put that in its place.
func (fl *fill) isOver() (bool, error) {
	if f, err := fl.filler.cache.Store().OpenFile(fl.file); err == nil {
		defer f.Close()
		fl.has(f, fl.table)
		return true, nil
	}
	partial, err := fl.filler.cache.BeginBlob(fl.file, fl.table.Size())
	if errors.Is(err, store.ErrBusy) {
		return false, nil
	}
	if err != nil {
		return true, passedBy{err}
	}
	return true, errors.Join(passedBy{errAlone}, partial.Close())
}
