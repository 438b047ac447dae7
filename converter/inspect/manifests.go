package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A linkedManifest is a manifest that is no index, and what it names.
type linkedManifest struct {
	layout.Manifest
	manifest.Links
	cid      cid.Cid
	platform *v1.Platform // as an index says
}

// manifests returns the manifest of an image, or those that an index leads to,
// and what of them is missing.
func (i *inspector) manifests(img origin.Image) (all []linkedManifest, missing []v1.Descriptor, err error) {
	top, err := i.cid(img)
	if err != nil {
		return nil, nil, err
	}
	files, err := i.dir(layout.ManifestsDir(img.Name))
	if err != nil {
		return nil, nil, err
	}
	seen := map[digest.Digest]bool{}
	var add func(m linkedManifest, depth int) error
	add = func(m linkedManifest, depth int) (err error) {
		if m.Links, err = manifest.ParseLinks(m.Data); err != nil {
			return fmt.Errorf("manifest %s: %w", m.Digest, err)
		}
		switch {
		case !manifest.IsIndex(m.Manifest):
			all = append(all, m)
			return nil
		case depth > manifest.MaxNesting:
			return manifest.ErrNesting
		}
		for _, d := range m.Manifests {
			node, there := files[d.Digest.String()]
			switch {
			case seen[d.Digest]:
				continue
			case !there:
				missing = append(missing, d)
				continue
			}
			seen[d.Digest] = true
			below := linkedManifest{cid: node.CID, platform: d.Platform}
			if below.Manifest, err = i.read(node.CID); err != nil {
				return fmt.Errorf("manifest %s: %w", d.Digest, err)
			}
			if err := add(below, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	err = add(linkedManifest{Manifest: img.Manifest, cid: top}, 0)
	return all, missing, err
}

// cid returns the CID of an image's manifest or index.
func (i *inspector) cid(img origin.Image) (cid.Cid, error) {
	files, err := i.dir(layout.ManifestsDir(img.Name))
	if err != nil {
		return cid.Undef, err
	}
	for _, file := range append([]string{img.Digest.String(), img.Tag}, layout.LatestNames(layout.DockerManifest)...) {
		if node, there := files[file]; there {
			return node.CID, nil
		}
	}
	return cid.Undef, fmt.Errorf("manifest %s: %w", img.Digest, fs.ErrNotExist)
}

func (i *inspector) read(c cid.Cid) (layout.Manifest, error) {
	data, err := i.from.Read(i.ctx, c, layout.MaxManifest)
	if err != nil {
		return layout.Manifest{}, err
	}
	return layout.ParseManifest(data)
}

// dir lists a directory, which is empty where there is none.
func (i *inspector) dir(path string) (map[string]unixfs.Node, error) {
	entries, known := i.dirs[path]
	if known {
		return entries, nil
	}
	entries, err := listIfThere(i.ctx, i.from, i.root, path)
	i.dirs[path] = entries
	return entries, err
}

// listIfThere lists the directory at a path below root, if there is one.
func listIfThere(ctx context.Context, from origin.Origin, root cid.Cid, path string) (map[string]unixfs.Node, error) {
	dir, err := from.Walk(ctx, root, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return from.List(ctx, dir)
}
