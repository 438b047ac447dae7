package trustless

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The most leaves of one file, and the most bytes of them, that are on their way at once.
const (
	blocksAhead = 8
	bytesAhead  = 2 << 20 // unless one leaf is larger
)

// A readAhead fetches the leaves of a file one by one, some before its caller wants them.
type readAhead struct {
	session Session
	ctx     context.Context
	cancel  context.CancelFunc
	table   *unixfs.Table
	next    int // the leaf to request next
	end     int
	bytes   int                     // of the leaves on their way
	results map[string]*fetchedLeaf // by multihash
}

type fetchedLeaf struct {
	size int
	done chan struct{}
	data []byte
	err  error
}

// newReadAhead begins to fetch the leaves of [from, to). Without a table, get fetches each
// leaf by itself.
func newReadAhead(ctx context.Context, s Session, t *unixfs.Table, from, to int64) *readAhead {
	ctx, cancel := context.WithCancel(ctx)
	r := &readAhead{session: s, ctx: ctx, cancel: cancel, table: t, results: map[string]*fetchedLeaf{}}
	if t != nil {
		r.next, r.end = t.Span(from, to)
		r.fill()
	}
	return r
}

// fill requests leaves until as many are on their way as may be.
func (r *readAhead) fill() {
	for ; r.next < r.end && len(r.results) < blocksAhead; r.next++ {
		n := r.table.Len(r.next)
		if r.bytes > 0 && r.bytes+n > bytesAhead {
			return
		}
		c := r.table.CID(r.next)
		if r.results[string(c.Hash())] != nil {
			continue // an equal leaf is on its way, and get fetches this one
		}
		leaf := &fetchedLeaf{size: n, done: make(chan struct{})}
		r.results[string(c.Hash())] = leaf
		r.bytes += n
		go func() {
			defer close(leaf.done)
			defer recovered(&leaf.err)
			leaf.data, leaf.err = r.session.fetch(r.ctx, c)
		}()
	}
}

// get is a unixfs.Getter.
func (r *readAhead) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	leaf := r.results[string(c.Hash())]
	if leaf == nil {
		data, err := r.session.known(ctx, c)
		if isUnavailable(err) {
			return r.session.fetch(ctx, c)
		}
		return data, err
	}
	<-leaf.done
	delete(r.results, string(c.Hash()))
	r.bytes -= leaf.size
	r.fill()
	return leaf.data, leaf.err
}

func (r *readAhead) close() { r.cancel() }
