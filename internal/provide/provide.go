// Package provide serves the content of stores to other registries and to IPFS nodes, as a
// trustless gateway without any other source:
//
//	/ipfs/<cid>?format=raw           a block
//	/ipfs/<cid>[/<path>]?format=car  the blocks on a path, and those of the content at its end
//	/ipfs/<cid>[/<path>]             a file
//	/ipns/<key>?format=ipns-record   the record of a store's own root
//
// An Accept header may name the format instead. Clients can verify every answer.
// Directories and the nodes of files are verified when they are read, so damage on the disk
// proves no absence. Leaves, which are most of the bytes, go from a blob's file to the client
// as they are.
//
// Content that the stores lack is answered with 404. If a directory proves that a path does
// not exist, a request for a CAR gets the proof. Deny lists apply to the content of a request,
// to the directories on the way to it, and to each block below it that is sent.
//
// Memory is bounded: a CAR is sent while the DAG is walked. A walk holds one node for each
// level, and the set of the blocks that were sent if none may come twice. Large nodes, and the
// set, count against the budget of the process.
//
// https://specs.ipfs.tech/http-gateways/trustless-gateway/
package provide

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Config says what is provided.
type Config struct {
	Stores []*store.Store // in the order in which they are read
	Lists  *denylist.Lists
	Logger *zap.Logger

	// Refused is called for each request that the lists refuse. It may be nil.
	Refused func(error)
}

// A Provider answers requests. Its methods may be called concurrently.
type Provider struct {
	config Config
	leaves []*store.LeafBlocks // of each store
}

// New returns a provider.
func New(c Config) *Provider {
	if c.Refused == nil {
		c.Refused = func(error) {}
	}
	p := &Provider{config: c}
	for _, s := range c.Stores {
		p.leaves = append(p.leaves, s.NewLeafBlocks())
	}
	return p
}

// Serve answers a request, also one with an error of the client, or for missing or denied
// content. If the provider fails, Serve writes nothing and returns a *Failure.
func (p *Provider) Serve(w http.ResponseWriter, r *Request) error {
	ctx, end := budget.WithTurns(r.Context())
	defer end()
	r.Request = r.WithContext(ctx)
	err := p.serve(w, r)
	if err == nil {
		return nil
	}
	return p.refuse(w, r, err)
}

func (p *Provider) serve(w http.ResponseWriter, r *Request) error {
	w.Header().Set("Vary", "Accept")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.invalid != nil {
		return r.invalid
	}
	switch r.Kind {
	case KindRecord:
		return p.serveRecord(w, r)
	case KindRaw:
		return p.serveRaw(w, r)
	case KindCAR:
		return p.serveCAR(w, r)
	}
	return p.serveFile(w, r)
}

// A storeError is a failure of a store, as opposed to an error in its content.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

// block is a unixfs.Getter of the nodes in the stores, of their small files and of blobs
// that are one block. The error is store.ErrLacking if no store has it.
func (p *Provider) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if data, inline := unixfs.Inline(c); inline {
		return data, unixfs.Block{CID: c, Data: data}.Verify()
	}
	err := fmt.Errorf("block %s: %w", c, store.ErrLacking)
	for _, s := range p.config.Stores {
		data, failed := s.Block(ctx, c)
		if failed == nil {
			failed = unixfs.Block{CID: c, Data: data}.Verify()
		}
		if failed == nil {
			return data, budget.Spend(ctx, len(data))
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !errors.Is(failed, store.ErrLacking) {
			err = &storeError{failed}
		}
	}
	return nil, err
}

// trail returns the CIDs on the path of a request, without its root, if the lists allow all
// of them. The error is fs.ErrNotExist, and not store.ErrLacking, if a directory proves that
// the path does not exist.
func (p *Provider) trail(r *Request) ([]cid.Cid, error) {
	if err := p.config.Lists.CheckDenied(r.Root, r.Path); err != nil {
		return nil, err
	}
	at, below := r.Root, ""
	var trail []cid.Cid
	for name := range strings.SplitSeq(r.Path, "/") {
		if name == "" {
			continue
		}
		next, err := unixfs.Walk(r.Context(), p.block, at, name)
		if err != nil {
			return nil, cmp.Or(p.config.Lists.CheckDenied(r.Root, below, trail...), err)
		}
		at, below = next, path.Join(below, name)
		trail = append(trail, next)
	}
	return trail, p.config.Lists.CheckDenied(r.Root, below, trail...)
}

// last returns the CID at the end of a request's path.
func (r *Request) last(trail []cid.Cid) cid.Cid {
	if len(trail) == 0 {
		return r.Root
	}
	return trail[len(trail)-1]
}
