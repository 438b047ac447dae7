package trustless

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// blocksAhead is how many blocks of one file are asked for at the same time.
const blocksAhead = 8

// A readAhead fetches the leaves of a file one by one, some before they are
// wanted.
type readAhead struct {
	session Session
	cancel  context.CancelFunc
	results map[cid.Cid]chan fetched
	queue   []cid.Cid // leaves that are still to be asked for
	ctx     context.Context
}

type fetched struct {
	data []byte
	err  error
}

// newReadAhead begins with the leaves of [from, to). Without a table, nothing is
// fetched before it is wanted.
func newReadAhead(ctx context.Context, s Session, t *unixfs.Table, from, to int64) *readAhead {
	ctx, cancel := context.WithCancel(ctx)
	r := &readAhead{session: s, ctx: ctx, cancel: cancel, results: map[cid.Cid]chan fetched{}}
	if t == nil {
		return r
	}
	i, j := t.Span(from, to)
	for ; i < j; i++ {
		r.queue = append(r.queue, t.CID(i))
	}
	r.fill()
	return r
}

// fill asks for more, if fewer are under way than may be.
func (r *readAhead) fill() {
	for len(r.results) < blocksAhead && len(r.queue) > 0 {
		c := r.queue[0]
		r.queue = r.queue[1:]
		if r.results[c] != nil {
			continue // the same bytes again: asked for when they are wanted
		}
		result := make(chan fetched, 1)
		r.results[c] = result
		go func() {
			data, err := r.session.leaf(r.ctx, c)
			result <- fetched{data, err}
		}()
	}
}

// get is a unixfs.Getter.
func (r *readAhead) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	result := r.results[c]
	if result == nil {
		return r.session.raw(ctx, c)
	}
	got := <-result
	delete(r.results, c)
	r.fill()
	return got.data, got.err
}

func (r *readAhead) close() { r.cancel() }
