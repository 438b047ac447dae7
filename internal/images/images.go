// Package images finds images wherever they are, and decides what may be served.
//
// A Library has sources, which it asks in order: stores on disk first, then IPFS
// gateways. Each of them is a Source, read in the same way, and find is the one
// place that goes from one to the next. What an error means is known where it is
// made; Classify names it, and every caller goes by that class.
//
// Every read passes the deny and allow lists: what a source hands out was reached
// through directories and files none of which is refused. That holds for all that
// an answer is made of, so a denied referrers index, fallback tag or directory of
// manifests is not read either.
//
// What is below a CID never changes. So the forms of images are remembered, and so
// are the manifests that gateways proved.
package images

import (
	"context"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A Source has images, or parts of images. It is used on behalf of one Query.
type Source interface {
	layout.Tree

	// Trail returns the CIDs on the slash-separated path below root: those of the
	// directories on the way, and last the one that the path ends at.
	Trail(ctx context.Context, root cid.Cid, path string) ([]cid.Cid, error)

	// Blob returns the blob at a place. A source that cannot tell without fetching
	// it leaves it to the blob's methods to say that there is none.
	Blob(ctx context.Context, at layout.Place, d digest.Digest) (Blob, error)
}

// A Blob is a config or layer of an image. Its caller closes it.
type Blob interface {
	Size(ctx context.Context) (int64, error)

	// Copy writes the blob to sink, or a part of it if part is not nil. If the part
	// has no byte in the blob, the error is a gateway.RangeError. Nothing is
	// written where the error is about the whole blob. A sink that is an
	// io.ReaderFrom may be given files.
	Copy(ctx context.Context, part *Range, sink Sink) error

	Close() error
}

// A Range is a part of a blob.
type Range = gateway.Range

// A Sink takes a blob.
type Sink = trustless.Sink

// An Origin is the kind of a source.
type Origin string

// The origins that there are.
const (
	FromStore   Origin = "store"
	FromGateway Origin = "gateway"
)

// A Query is what is asked of a library: an image, and one part of it.
type Query struct {
	Image     layout.Image
	Via       string        // the IPNS key or domain that led to the image, for the log
	Reference string        // of a manifest: a tag or a digest
	Digest    digest.Digest // of a blob, or of the subject of referrers
	Only      Origin        // the only sources to ask; empty for all
}

// Fields returns what every log entry about the query has.
func (q Query) Fields(more ...zap.Field) []zap.Field {
	fields := []zap.Field{zap.Stringer("cid", q.Image.Root), zap.String("name", q.Image.Name)}
	if q.Via != "" {
		fields = append(fields, zap.String("ipns", q.Via))
	}
	switch {
	case q.Reference != "":
		fields = append(fields, zap.String("reference", q.Reference))
	case q.Digest != "":
		fields = append(fields, zap.String("digest", q.Digest.String()))
	}
	return append(fields, more...)
}

// A Config says what a Library consists of. All of it may be left out but the
// logger.
type Config struct {
	Stores   []*store.Store    // asked first, in this order
	Gateways *trustless.Client // asked for what no store has
	Filler   *fill.Filler      // keeps what gateways give
	Prefetch int               // how many blobs of an image are fetched at once, ahead of clients; needs a Filler
	Lists    *denylist.Lists   // what may be served
	Logger   *zap.Logger

	// Looked is told of each look into one of the caches, CacheManifests or
	// CacheBlobs.
	Looked func(cache string, hit bool)
}

// The caches that Config.Looked is told of.
const (
	CacheManifests = "manifests" // in memory
	CacheBlobs     = "blobs"     // in a store
)

// A Library is all images that can be served. Its methods may be called
// concurrently. Their errors are classified: see Classify.
type Library struct {
	config    Config
	origins   []origin
	ctx       context.Context // of what outlives a request
	forms     *formCache
	manifests *manifestCache
	falsities *falsities
}

// New returns a library. What it does in the background ends with ctx.
func New(ctx context.Context, c Config) *Library {
	if c.Looked == nil {
		c.Looked = func(string, bool) {}
	}
	l := &Library{config: c, ctx: ctx, forms: newFormCache(), manifests: newManifestCache(), falsities: newFalsities()}
	for _, s := range c.Stores {
		l.origins = append(l.origins, origin{FromStore, zap.String("store", s.Dir()), func(Query) Source { return storeSource{s} }})
	}
	if c.Gateways != nil {
		l.origins = append(l.origins, origin{FromGateway, zap.Skip(), func(q Query) Source { return newGatewaySource(c, q) }})
	}
	return l
}

// An origin is a source as it is configured.
type origin struct {
	kind  Origin
	where zap.Field
	on    func(Query) Source // the source on behalf of a query
}

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
		case Absent, False, Broken, Denied, Gone:
			return none, o.kind, e
		}
	}
	return none, "", err
}

// report logs what a store failed at. Failures of gateways are logged one by one, as
// they happen.
func (l *Library) report(o origin, q Query, e *Error) {
	if o.kind != FromStore {
		return
	}
	fields := func() []zap.Field { return q.Fields(o.where, zap.Error(e.Err)) }
	switch {
	case e.Class == Fault:
		l.config.Logger.Error("store failed", fields()...)
	case e.Class == False && l.falsities.isNew(q):
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
