package images

import (
	"context"
	"io/fs"

	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A Config says what a Library consists of. All of it may be left out but the
// logger.
type Config struct {
	Stores   []*store.Store    // asked first, in this order
	Gateways *trustless.Client // asked for what no store has
	Filler   *fill.Filler      // keeps what gateways give
	Prefetch int               // how many blobs of an image are fetched at once, ahead of clients; needs a Filler
	Lists    *denylist.Lists   // what may be served
	Logger   *zap.Logger

	// Looked is called after each look-up in one of the caches, CacheManifests or
	// CacheBlobs.
	Looked func(cache string, hit bool)
}

// The caches of Config.Looked.
const (
	CacheManifests = "manifests" // in memory
	CacheBlobs     = "blobs"     // in a store
)

// A Library has all images that can be served. Its methods may be called
// concurrently. Their errors are classified: see Classify.
type Library struct {
	config  Config
	origins []origin
	ctx     context.Context // of what outlives a request
	memory  memory
}

// New returns a library. Its background work ends with ctx.
func New(ctx context.Context, c Config) *Library {
	if c.Looked == nil {
		c.Looked = func(string, bool) {}
	}
	l := &Library{config: c, ctx: ctx, memory: newMemory()}
	for _, s := range c.Stores {
		l.origins = append(l.origins, origin{FromStore, zap.String("store", s.Dir()), func(Query) Source { return storeSource{s} }})
	}
	if c.Gateways != nil {
		l.origins = append(l.origins, origin{FromGateway, zap.Skip(), func(q Query) Source { return l.gatewaySource(q) }})
	}
	return l
}

// Forget removes what is in memory of the images below a root, and returns how many
// manifests that were.
func (l *Library) Forget(root cid.Cid) int {
	if l.config.Gateways != nil {
		l.config.Gateways.Forget()
	}
	return l.memory.forget(root)
}

// ManifestBytes returns how many bytes of memory the remembered manifests take.
func (l *Library) ManifestBytes() int {
	return l.memory.manifests.Bytes()
}

// An origin is a source as it is configured.
type origin struct {
	kind  Origin
	where zap.Field
	on    func(Query) Source // the source on behalf of a query
}

// HasLists reports whether there are deny or allow lists.
func (l *Library) HasLists() bool { return l.config.Lists != nil }

// HasGateways reports whether IPFS gateways are among the sources.
func (l *Library) HasGateways() bool { return l.config.Gateways != nil }

// find returns what read gets from the first source that has it, and which kind of
// source that was.
//
// It ends at the first source that gives the thing, or proves that no other source
// can: because the thing is absent, false or denied. A source that lacks it, cannot
// be read or does not answer says nothing about the others. If no source gives an
// answer, the error is that of the last one that had more to say than that it
// lacks the thing.
func find[T any](ctx context.Context, l *Library, q Query, read func(view) (T, error)) (T, Origin, error) {
	var none T
	err := newError(Lacking, fs.ErrNotExist)
	for _, o := range l.origins {
		if q.Only != "" && q.Only != o.kind {
			continue
		}
		found, failed := read(l.view(o, q))
		if failed == nil {
			return found, o.kind, nil
		}
		e := classify(ctx, failed)
		l.report(o, q, e)
		switch e.Class {
		case Lacking:
		case Fault, Unavailable, Late:
			err = e
		case Absent, False, Broken, Denied, Gone, Full:
			return none, o.kind, e
		}
	}
	return none, "", err
}

// report logs the failure of a store. Failures of gateways are logged one by one, when
// they happen.
func (l *Library) report(o origin, q Query, e *Error) {
	if o.kind != FromStore {
		return
	}
	fields := func() []zap.Field { return q.Fields(o.where, zap.Error(e.Err)) }
	switch {
	case e.Class == Fault:
		l.config.Logger.Error("store failed", fields()...)
	case e.Class == False && l.memory.isNewFalsity(q):
		l.config.Logger.Error("an image in the store is not what its name says", fields()...)
	}
}

// A view is one source as a query may see it: through the lists.
type view struct {
	checked
	library *Library
	origin  origin
	query   Query
}

func (l *Library) view(o origin, q Query) view {
	return view{checked{o.on(q), l.config.Lists, q}, l, o, q}
}
