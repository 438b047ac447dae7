package fill

import (
	"context"
	"sync/atomic"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An intake writes verified bytes to the file of a blob in the cache, and notes which
// leaves they complete.
type intake struct {
	growing
	ctx      context.Context
	cancel   context.CancelFunc
	spend    func(bytes int)    // is called for bytes that came
	keepPace func() (goOn bool) // waits after bytes came, and says whether more are needed now
	partial  *store.Partial     // set before phase fetching
	fetched  atomic.Int64       // bytes from gateways
	copied   atomic.Int64       // bytes from other blobs
}

// write writes verified bytes at an offset. An error ends the use of the cache.
func (in *intake) write(b []byte, at int64) error {
	_, err := in.partial.WriteAt(b, at)
	if err != nil {
		in.stop(err)
	}
	return err
}

// stop makes all readers continue without the cache.
func (in *intake) stop(err error) {
	in.finish(passedBy{err})
	in.cancel()
}

// writeTail writes the last leaf, if it was kept back.
func (in *intake) writeTail() error {
	tail := in.heldTail()
	if tail == nil {
		return nil
	}
	if err := in.write(tail, in.lastLeaf()); err != nil {
		return passedBy{err}
	}
	return nil
}

// readAt reads present bytes and the held last leaf, for the proof of the digest.
func (in *intake) readAt(b []byte, at int64) (int, error) {
	if tail := in.heldTail(); tail != nil {
		if at >= in.lastLeaf() {
			return copy(b, tail[at-in.lastLeaf():]), nil
		}
		b = b[:min(int64(len(b)), in.lastLeaf()-at)]
	}
	return in.partial.ReadAt(b, at)
}
