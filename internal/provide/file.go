package provide

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// serveFile answers with the content of a file, or with a part of it.
func (p *Provider) serveFile(w http.ResponseWriter, r *Request) error {
	trail, err := p.trail(r)
	if err != nil {
		return err
	}
	c := r.last(trail)
	name := c.String()
	if r.Path != "" {
		name = path.Base(r.Path)
	}
	blob, err := p.blob(c)
	if errors.Is(err, store.ErrLacking) {
		return p.serveNodes(w, r, c, name)
	}
	if err != nil {
		return err
	}
	defer blob.Close()
	r.setFile(w, c, name)
	defer budget.Away(r.Context())()
	http.ServeContent(w, r.Request, "", time.Time{}, blob.File)
	return nil
}

func (r *Request) setFile(w http.ResponseWriter, c cid.Cid, name string) {
	r.setContent(w, fileType, name, `"`+c.String()+`"`)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
}

// blob opens the blob that is a file. The error is store.ErrLacking if no store has it as a
// blob.
func (p *Provider) blob(c cid.Cid) (*store.File, error) {
	err := fmt.Errorf("file %s: %w", c, store.ErrLacking)
	for _, s := range p.config.Stores {
		f, failed := s.OpenFile(c)
		if failed == nil {
			return f, nil
		}
		if !errors.Is(failed, store.ErrLacking) {
			err = &storeError{failed}
		}
	}
	return nil, err
}

// serveNodes answers with a file that is stored in its nodes. It answers a Range request with
// the whole file.
func (p *Provider) serveNodes(w http.ResponseWriter, r *Request, c cid.Cid, name string) error {
	first, err := p.block(r.Context(), c)
	if err != nil {
		return err
	}
	if _, failed := unixfs.Entries(unixfs.Block{CID: c, Data: first}); failed == nil {
		return &refusal{http.StatusNotFound, "this is a directory: ask for it with ?format=car"}
	}
	size, err := unixfs.FileSize(unixfs.Block{CID: c, Data: first})
	if err != nil {
		return err
	}
	r.setFile(w, c, name)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if r.withoutBody(w) {
		return nil
	}
	err = unixfs.Stream(r.Context(), p.anyBlock, c, 0, size, func(b []byte) error {
		defer budget.Away(r.Context())()
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		p.cut(r, err)
	}
	return nil
}

// anyBlock is a unixfs.Getter of all blocks in the stores.
func (p *Provider) anyBlock(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := p.block(ctx, c)
	if !errors.Is(err, store.ErrLacking) {
		return data, err
	}
	leaf, err := p.leaf(ctx, c)
	if err != nil {
		return nil, err
	}
	defer leaf.Close()
	data = make([]byte, leaf.Size)
	_, err = io.ReadFull(leaf, data)
	return data, err
}
