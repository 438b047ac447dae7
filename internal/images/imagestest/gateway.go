package imagestest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Fault is something that a gateway does instead of sending the right body.
type Fault = func(w http.ResponseWriter, r *http.Request, body []byte)

// A Gateway is a trustless IPFS gateway that serves images as CARs, raw blocks and plain
// files, until a fault is set.
type Gateway struct {
	*httptest.Server
	images *Images

	mu       sync.Mutex
	requests []*http.Request
	fault    Fault
}

// Gateway returns a gateway that ends with the test.
func (im *Images) Gateway(t testing.TB) *Gateway {
	t.Helper()
	g := &Gateway{images: im}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests = append(g.requests, r)
	fault := g.fault
	g.mu.Unlock()
	if fault == nil {
		fault = Honest
	}
	body, err := g.images.answer(w.Header(), r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	fault(w, r, body)
}

// answer returns the body of the right answer to a request, and sets its type.
func (im *Images) answer(header http.Header, r *http.Request) ([]byte, error) {
	root, below, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c, err := cid.Decode(root)
	if err != nil {
		return nil, err
	}
	switch r.URL.Query().Get("format") {
	case "raw":
		header.Set("Content-Type", "application/vnd.ipld.raw")
		return im.get(r.Context(), c)
	case "car":
		header.Set("Content-Type", "application/vnd.ipld.car; version=1")
		return im.car(r, c, below)
	}
	header.Set("Content-Type", "application/octet-stream")
	return im.file(r.Context(), c, below)
}

// file returns the content of a file.
func (im *Images) file(ctx context.Context, root cid.Cid, below string) ([]byte, error) {
	at, err := unixfs.Walk(ctx, im.get, root, below)
	if err != nil {
		return nil, err
	}
	first, err := im.get(ctx, at)
	if err != nil {
		return nil, err
	}
	size, err := unixfs.FileSize(unixfs.Block{CID: at, Data: first})
	if err != nil {
		return nil, err
	}
	var content []byte
	err = unixfs.Stream(ctx, im.get, at, 0, size, func(b []byte) error {
		content = append(content, b...)
		return nil
	})
	return content, err
}

// Honest sends the right body, or the part of a file that the client wants.
func Honest(w http.ResponseWriter, r *http.Request, body []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// Breaks sets what the gateway does wrong, nil for nothing.
func (g *Gateway) Breaks(fault Fault) *Gateway {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = fault
	return g
}

// Asked returns the requests since it was last called.
func (g *Gateway) Asked() []*http.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests := g.requests
	g.requests = nil
	return requests
}

// get is a unixfs.Getter.
func (im *Images) get(_ context.Context, c cid.Cid) ([]byte, error) {
	if data, inline := unixfs.Inline(c); inline {
		return data, nil
	}
	data, ok := im.Blocks[string(c.Hash())]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", c, fs.ErrNotExist)
	}
	return data, nil
}

// car returns the CAR that a request wants. Where a path ends early, so does the CAR:
// that proves it.
func (im *Images) car(r *http.Request, root cid.Cid, below string) ([]byte, error) {
	var body bytes.Buffer
	w, err := car.NewWriter(&body, root)
	if err != nil {
		return nil, err
	}
	get := func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := im.get(ctx, c)
		if err == nil {
			err = w.Put(unixfs.Block{CID: c, Data: data})
		}
		return data, err
	}
	if _, err := get(r.Context(), root); err != nil {
		return nil, err
	}
	at, err := unixfs.Walk(r.Context(), get, root, below)
	if err != nil {
		return body.Bytes(), nil
	}
	first, err := get(r.Context(), at)
	if err != nil || r.URL.Query().Get("dag-scope") != "entity" {
		return body.Bytes(), err
	}
	block := unixfs.Block{CID: at, Data: first}
	size, err := unixfs.FileSize(block)
	if err != nil { // a directory: all blocks of it
		_, err = unixfs.ReadDir(r.Context(), get, at, "")
		return body.Bytes(), err
	}
	from, to := int64(0), size
	if wanted := r.URL.Query().Get("entity-bytes"); wanted != "" {
		var last int64
		if n, _ := fmt.Sscanf(wanted, "%d:%d", &from, &last); n == 2 && last >= 0 {
			to = min(size, last+1)
		}
	}
	err = unixfs.Stream(r.Context(), get, at, from, to, func([]byte) error { return nil })
	return body.Bytes(), err
}
