package fill

import (
	"errors"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// find finds out what stands at the blob's place. Where that takes asking, and
// somebody waits for the first byte, the blob is asked for at the same time.
func (fl *fill) find(fromStart bool) error {
	if fromStart && !fl.session.IsKnown(fl.ctx, fl.blob.Place) {
		return fl.findByStream()
	}
	file, err := fl.session.Resolve(fl.ctx, fl.blob.Place)
	if err != nil {
		return err
	}
	return fl.found(file.CID, file.Table)
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
	if f, err := fl.filler.cache.Store().OpenFile(file); err == nil {
		defer f.Close()
		fl.has(f, table)
		return nil
	}
	partial, err := fl.filler.cache.BeginBlob(file, table.Size())
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
