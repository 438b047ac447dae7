package trustless

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// How much of one file is asked for before it is wanted.
const (
	blocksAhead = 8
	bytesAhead  = 2 << 20 // unless one block is larger
)

// A readAhead fetches the leaves of a file one by one, some before they are
// wanted.
type readAhead struct {
	session Session
	ctx     context.Context
	cancel  context.CancelFunc
	table   *unixfs.Table
	next    int // leaf to ask for
	end     int
	bytes   int                     // that are under way
	results map[string]*fetchedLeaf // by multihash
}

type fetchedLeaf struct {
	size int
	done chan struct{}
	data []byte
	err  error
}

// newReadAhead begins with the leaves of [from, to). Without a table, nothing is
// fetched before it is wanted.
func newReadAhead(ctx context.Context, s Session, t *unixfs.Table, from, to int64) *readAhead {
	ctx, cancel := context.WithCancel(ctx)
	r := &readAhead{session: s, ctx: ctx, cancel: cancel, table: t, results: map[string]*fetchedLeaf{}}
	if t != nil {
		r.next, r.end = t.Span(from, to)
		r.fill()
	}
	return r
}

// fill asks for more, if less is under way than may be.
func (r *readAhead) fill() {
	for ; r.next < r.end && len(r.results) < blocksAhead; r.next++ {
		n := r.table.Len(r.next)
		if r.bytes > 0 && r.bytes+n > bytesAhead {
			return
		}
		c := r.table.CID(r.next)
		if r.results[string(c.Hash())] != nil {
			continue // the same bytes again: asked for when they are wanted
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
