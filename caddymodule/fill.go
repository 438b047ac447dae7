package caddymodule

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A filledBlob is a verified blob that the store keeps on its way to the client.
type filledBlob struct {
	verifiedBlob
	filler *fill.Filler
	digest digest.Digest
}

// Copy implements remoteBlob.
func (b filledBlob) Copy(ctx context.Context, part *gateway.Range, sink trustless.Sink) error {
	return b.filler.Copy(ctx, b.session, fillOf(b.at, b.digest), part, sink)
}

func fillOf(at layout.Place, d digest.Digest) fill.Blob {
	return fill.Blob{Root: at.Root, Path: at.Path, Digest: d}
}

// ReadFrom implements io.ReaderFrom, for the rest of a file.
func (a *answer) ReadFrom(r io.Reader) (int64, error) { return fileWriter{a.w}.ReadFrom(r) }

// Interface guards
var (
	_ remoteBlob    = filledBlob{}
	_ io.ReaderFrom = (*answer)(nil)
)
