package images

import (
	"context"
	"errors"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Manifest returns the manifest of the query's reference, and where it came from.
func (l *Library) Manifest(ctx context.Context, q Query) (layout.Manifest, Origin, error) {
	if err := l.Admit(q, layout.ManifestPaths(q.Image.Name, q.Reference)...); err != nil {
		return layout.Manifest{}, "", err
	}
	ctx, end := budget.WithTurns(ctx)
	defer end()
	return find(ctx, l, q, func(v view) (layout.Manifest, error) {
		if v.origin.kind != FromGateway {
			return v.manifest(ctx)
		}
		return v.provedManifest(ctx)
	})
}

// HasManifest reports whether the query's image, of format 1, has a manifest under a digest.
func (l *Library) HasManifest(ctx context.Context, q Query, d digest.Digest) bool {
	at := layout.Place{Root: q.Image.Root, Path: layout.ManifestPath(q.Image.Name, d.String())}
	_, _, err := find(ctx, l, q, func(v view) ([]cid.Cid, error) { return v.Trail(ctx, at.Root, at.Path) })
	return err == nil
}

// provedManifest is manifest for what gateways prove: it is remembered, and its blobs
// are fetched ahead of clients.
func (v view) provedManifest(ctx context.Context) (layout.Manifest, error) {
	l, key := v.library, manifestKey{v.query.Image, v.query.Reference}
	m, known := l.memory.manifests.Get(key)
	l.config.Looked(CacheManifests, known)
	if known {
		_, _, err := v.remembered(ctx)
		if err == nil {
			_, err = v.check(ctx, m.At)
		}
		return m, err
	}
	m, err := v.manifest(ctx)
	if err != nil {
		return layout.Manifest{}, err
	}
	l.memory.manifests.Add(key, m)
	l.prefetch(v.query, m)
	return m, nil
}

// manifest reads a manifest from where most images have it, with one look, and if it
// is not there, from where the form of the image says.
func (v view) manifest(ctx context.Context) (layout.Manifest, error) {
	form, known, err := v.remembered(ctx)
	if err != nil {
		return layout.Manifest{}, err
	}
	if !v.query.Literal && (!known || form.IsNative()) {
		m, err := layout.ReadManifest(ctx, v, v.query.Image, v.query.Reference)
		if err == nil && !known {
			v.library.memory.forms.Add(v.query.Image, knownForm{Form: layout.Native(v.query.Image)})
		}
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, layout.ErrLacking) {
			return m, err
		}
	}
	if form, err = v.form(ctx); err != nil {
		return layout.Manifest{}, err
	}
	return form.Manifest(ctx, v, v.query.Reference)
}
