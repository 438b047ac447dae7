package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A gatewaySource reads from IPFS gateways and verifies everything down to the last leaf.
type gatewaySource struct {
	session  trustless.Session
	filler   *fill.Filler // nil if nothing is kept
	declined declinedMemory
}

func (l *Library) gatewaySource(q Query) gatewaySource {
	session := trustless.Session{Client: l.config.Gateways, Failed: func(f gateway.Failure) { logFailure(l.config.Logger, q, f) }}
	return gatewaySource{session, l.config.Filler, l.memory.declined}
}

// logFailure logs false content as an error, a gateway that failed as a warning, and
// one that only does not have something for debugging.
func logFailure(logger *zap.Logger, q Query, f gateway.Failure) {
	level, message := zapcore.DebugLevel, "gateway did not answer"
	switch {
	case errors.Is(f.Err, unixfs.ErrMismatch):
		level, message = zapcore.ErrorLevel, "gateway sent false content"
	case f.Strike:
		level, message = zapcore.WarnLevel, "gateway failed"
	}
	if c := logger.Check(level, message); c != nil {
		c.Write(q.Fields(zap.String("gateway", f.Gateway), zap.Error(f.Err))...)
	}
}

// ReadFile implements layout.Tree.
func (g gatewaySource) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	data, err := ask(ctx, g.declined, layout.Place{Root: root, Path: path}, func() ([]byte, error) {
		return g.session.ReadFile(ctx, root, path, limit)
	})
	return data, proved(ctx, err)
}

// ReadDir implements layout.Tree.
func (g gatewaySource) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	entries, err := ask(ctx, g.declined, layout.Place{Root: root, Path: path}, func() (map[string]cid.Cid, error) {
		return g.session.ReadDir(ctx, root, path)
	})
	return entries, proved(ctx, err)
}

// Trail implements Source.
func (g gatewaySource) Trail(ctx context.Context, root cid.Cid, path string) ([]cid.Cid, error) {
	trail, err := ask(ctx, g.declined, layout.Place{Root: root, Path: path}, func() ([]cid.Cid, error) {
		return g.session.Trail(ctx, root, path)
	})
	return trail, proved(ctx, err)
}

// proved marks an error that is neither the gateways' nor the request's: it is what
// verified blocks say.
func proved(ctx context.Context, err error) error {
	_, unavailable := errors.AsType[gateway.Error](err)
	_, outside := errors.AsType[gateway.RangeError](err)
	if err == nil || unavailable || outside || ctx.Err() != nil || errors.Is(err, budget.ErrFull) || errors.Is(err, fs.ErrNotExist) || isFalse(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errContent, err)
}

// Blob implements Source.
func (g gatewaySource) Blob(_ context.Context, at layout.Place, d digest.Digest) (Blob, error) {
	return remoteBlob{g, at, d}, nil
}

// A remoteBlob is a blob each leaf of which is verified. Only a whole one that is kept
// in a store is checked against its digest, which its publisher may have got wrong:
// clients check it anyway.
type remoteBlob struct {
	gatewaySource
	at     layout.Place
	digest digest.Digest
}

// Size implements Blob.
func (b remoteBlob) Size(ctx context.Context) (int64, error) {
	size, err := b.session.Stat(ctx, b.at)
	return size, proved(ctx, err)
}

// Copy implements Blob.
func (b remoteBlob) Copy(ctx context.Context, part *Range, sink Sink) error {
	if b.filler == nil {
		return proved(ctx, b.session.Copy(ctx, b.at, part, sink))
	}
	return proved(ctx, b.filler.Copy(ctx, b.session, b.fill(), part, sink))
}

// prefetch begins to fetch the blob, which should have size bytes, into the store.
func (b remoteBlob) prefetch(ctx context.Context, size int64) error {
	return b.filler.Prefetch(ctx, b.session, b.fill(), size)
}

func (b remoteBlob) fill() fill.Blob {
	return fill.Blob{Place: b.at, Digest: b.digest}
}

// Close implements Blob.
func (b remoteBlob) Close() error { return nil }
