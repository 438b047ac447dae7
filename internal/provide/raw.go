package provide

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// serveRaw answers with a block.
func (p *Provider) serveRaw(w http.ResponseWriter, r *Request) error {
	trail, err := p.trail(r)
	if err != nil {
		return err
	}
	c := r.last(trail)
	block, release, err := p.open(w, r, c)
	if err != nil {
		return err
	}
	defer release()
	r.setContent(w, rawType, c.String()+".bin", `"`+c.String()+`.raw"`)
	defer budget.Away(r.Context())()
	http.ServeContent(w, r.Request, "", time.Time{}, block)
	return nil
}

// open returns a block: a node, or a leaf in the file of its blob.
func (p *Provider) open(w http.ResponseWriter, r *Request, c cid.Cid) (block io.ReadSeeker, release func(), err error) {
	data, err := p.block(r.Context(), c)
	if err == nil {
		release, err = hold(w, r, len(data))
		return bytes.NewReader(data), release, err
	}
	if !errors.Is(err, store.ErrLacking) {
		return nil, nil, err
	}
	leaf, err := p.leaf(r.Context(), c)
	if err != nil {
		return nil, nil, err
	}
	return leaf, func() { leaf.Close() }, nil
}

// leaf opens the block of a leaf of a blob.
func (p *Provider) leaf(ctx context.Context, c cid.Cid) (*store.LeafBlock, error) {
	err := fmt.Errorf("block %s: %w", c, store.ErrLacking)
	for _, leaves := range p.leaves {
		leaf, failed := leaves.Open(ctx, c)
		if failed == nil {
			return leaf, nil
		}
		if !errors.Is(failed, store.ErrLacking) {
			err = &storeError{failed}
		}
	}
	return nil, err
}
