package trustless

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A hold is the memory that one attempt to read directories and small files takes of a
// client's budget. It is given back when the attempt fails, or when the request's context
// ends, since the request uses what it read until then.
type hold struct {
	forget func() bool // the end of the context

	mu      sync.Mutex
	share   *budget.Share
	isEnded bool
}

func (c *Client) newHold(ctx context.Context) *hold {
	h := &hold{share: c.budget.Share(ctx), forget: func() bool { return true }}
	if c.budget != nil {
		h.forget = context.AfterFunc(ctx, h.end)
	}
	return h
}

func (h *hold) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isEnded = true
	h.share.Close()
}

func (h *hold) fail() {
	h.forget()
	h.end()
}

func (h *hold) grow(ctx context.Context, bytes int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isEnded {
		return context.Cause(ctx)
	}
	return h.share.Grow(ctx, bytes)
}

// linkMemory is about how many bytes a directory entry takes, beside those of its block.
const linkMemory = 200

// count returns a getter whose blocks count for the request.
func (h *hold) count(get unixfs.Getter) unixfs.Getter {
	return func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := get(ctx, c)
		if err != nil {
			return nil, err
		}
		bytes := len(data)
		if c.Type() == cid.DagProtobuf {
			bytes += linkMemory * unixfs.CountLinks(data)
		}
		if err = budget.Spend(ctx, bytes); err == nil {
			err = h.grow(ctx, int64(bytes))
		}
		if err != nil {
			return nil, err
		}
		return data, nil
	}
}
