// Package images finds images in stores and at gateways, and checks them against the deny
// and allow lists.
//
// A Library has sources, which it asks in order: stores on disk first, then IPFS
// gateways. Each of them is a Source, read in the same way, and only find goes from
// one source to the next. Classify gives every error a Class, and callers decide by
// that class.
//
// Every read passes the deny and allow lists: they refuse none of the directories and
// files on the way to the content. This covers every part of an answer, so a denied
// referrers index, fallback tag or directory of manifests is not read either.
//
// Content below a CID never changes. So the library remembers the forms of images, and
// the manifests that gateways proved.
package images

import (
	"context"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
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

// A File is what a Sink is told of a blob: its size, and more where it is known.
type File = trustless.File

// An Origin is the kind of a source.
type Origin string

// The origins.
const (
	FromStore   Origin = "store"
	FromGateway Origin = "gateway"
)

// A Query asks a library for an image, or for one part of it.
type Query struct {
	Image     layout.Image
	Via       string        // the IPNS key or domain that led to the image, for the log
	Reference string        // of a manifest: a tag or a digest
	Digest    digest.Digest // of a blob, or of the subject of referrers
	Only      Origin        // the only sources to ask; empty for all

	// Own says that the image is in a store's own root, which no allow list need name.
	Own bool

	// Literal says that every tag is one that was given to the image, and none is an alias.
	// It is true if Own is.
	Literal bool
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

// path returns the native place of the requested part of the image.
func (q Query) path() string {
	switch {
	case q.Reference != "":
		return layout.ManifestPath(q.Image.Name, q.Reference)
	case q.Digest != "":
		return layout.BlobPath(q.Image.Name, q.Digest)
	}
	return q.Image.Name
}

// checkLists returns why the lists refuse what is at a path below the root of the image.
func (q Query) checkLists(lists *denylist.Lists, path string, resolved ...cid.Cid) error {
	if q.Own {
		return lists.CheckDenied(q.Image.Root, path, resolved...)
	}
	return lists.Check(q.Image.Root, path, resolved...)
}

// nativeBlob returns the place where most images have the blob.
func (q Query) nativeBlob() layout.Place {
	return layout.Place{Root: q.Image.Root, Path: layout.BlobPath(q.Image.Name, q.Digest)}
}
