package verify

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// follow reads the manifests of the selected images, and notes the blobs that they
// lead to.
func (t *rootCheck) follow(ctx context.Context) {
	todo := slices.Sorted(maps.Keys(t.entries))
	if t.selection.Reference != "" {
		images, err := t.selection.Images(ctx, t.from, t.root)
		if err != nil {
			t.fault("", cid.Undef, err)
			return
		}
		todo = nil
		for _, img := range images {
			todo = append(todo, t.pathsOf(img.Name, t.selection.Reference, img.Digest.String())...)
		}
	}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		c, exists := t.entries[p]
		if !exists || t.reached[p] || ctx.Err() != nil {
			continue
		}
		t.reached[p] = true
		if _, part, _ := layout.Split(p); part == layout.Document || part == layout.About {
			t.followManifest(ctx, p, c)
		} else {
			t.noteContent(ctx, p, c)
		}
		if key := t.manifestKey(p); !t.expanded[key] { // many tags may be of one manifest
			t.expanded[key] = true
			todo = append(todo, t.leadsTo(p)...)
		}
	}
}

// manifestKey returns the same for all paths for which leadsTo returns the same.
func (t *rootCheck) manifestKey(p string) string {
	m := t.manifests[p]
	if m == nil {
		return ""
	}
	name, part, _ := layout.Split(p)
	return fmt.Sprintf("%d %s@%s", part, name, m.Digest)
}

// pathsOf returns the paths of the manifest that has the given tags and digests. It
// may have none of them, and aliases only.
func (t *rootCheck) pathsOf(name string, references ...string) []string {
	var paths []string
	for _, r := range references {
		if p := layout.ManifestPath(name, r); t.entries[p].Defined() {
			paths = append(paths, p)
		}
	}
	if aliases := layout.LatestNames(layout.DockerManifest); len(paths) == 0 && !slices.Equal(references, aliases) {
		return t.pathsOf(name, aliases...)
	}
	return paths
}

// leadsTo returns the paths of what belongs to the manifest at a path.
func (t *rootCheck) leadsTo(p string) []string {
	m := t.manifests[p]
	if m == nil {
		return nil
	}
	name, part, _ := layout.Split(p)
	var paths []string
	if part == layout.Document {
		paths = append(paths, layout.ManifestPath(name, m.Digest.String()), layout.ReferrersPath(name, m.Digest))
	}
	for _, d := range m.Manifests {
		paths = append(paths, pathOf(name, d))
	}
	for _, d := range m.Blobs() {
		paths = append(paths, layout.BlobPath(name, d.Digest))
	}
	return paths
}

// pathOf returns where the manifest or blob of a descriptor in an index is.
func pathOf(name string, d v1.Descriptor) string {
	if manifest.IsManifest(d) {
		return layout.ManifestPath(name, d.Digest.String())
	}
	return layout.BlobPath(name, d.Digest)
}

// followManifest reads a manifest, or an index of referrers.
func (t *rootCheck) followManifest(ctx context.Context, p string, c cid.Cid) {
	m, known := t.documents[c.KeyString()]
	if !known {
		var err error
		if m, err = t.readManifest(ctx, c); err != nil {
			t.fault(p, c, err)
		}
		t.documents[c.KeyString()] = m
	}
	if m == nil {
		return
	}
	t.manifests[p] = m
	_, part, file := layout.Split(p)
	if part != layout.Document || !layout.IsDigest(file) {
		return
	}
	d, err := layout.ParseDigest(file)
	if err != nil {
		t.fault(p, c, fmt.Errorf("the name of this manifest is not a digest: %w", err))
	} else if got := d.Algorithm().FromBytes(m.Data); got != d {
		t.fault(p, c, wrongDigest(got))
	}
}

func (t *rootCheck) readManifest(ctx context.Context, c cid.Cid) (*checkedManifest, error) {
	f, err := t.from.File(ctx, c)
	if err != nil {
		return nil, err
	}
	if f.Table.Size() > layout.MaxManifest {
		return nil, fmt.Errorf("it has %d bytes, and a manifest at most %d", f.Table.Size(), layout.MaxManifest)
	}
	if err := t.from.CheckTable(f); err != nil {
		return nil, err
	}
	if err := t.hold(f.Table.Size()); err != nil {
		return nil, err
	}
	r, err := t.from.Open(ctx, f) // and not Read, which may remember the block
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	n, err := manifest.Parse(m)
	if err != nil {
		return nil, err
	}
	if err := t.hold(int64(n.Memory()) - f.Table.Size()); err != nil {
		return nil, err
	}
	return &checkedManifest{n, c, sizeOf(f)}, nil
}

// noteContent notes a blob to be read later.
func (t *rootCheck) noteContent(ctx context.Context, p string, c cid.Cid) {
	f, known := t.contents[c.KeyString()]
	if !known {
		var err error
		if f, err = t.storedFile(ctx, c); err != nil {
			t.fault(p, c, err)
		}
		t.contents[c.KeyString()] = f
	}
	if f == nil {
		return
	}
	f.paths = append(f.paths, p)
	_, part, name := layout.Split(p)
	if part != layout.Content {
		return
	}
	d, err := layout.ParseDigest(name)
	if err != nil {
		t.fault(p, c, fmt.Errorf("the name of this blob is not a digest: %w", err))
		return
	}
	f.outside[d.Algorithm()] = true
}

// storedFile reads the nodes of a file.
func (t *rootCheck) storedFile(ctx context.Context, c cid.Cid) (*storedFile, error) {
	f, err := t.from.File(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := t.from.CheckTable(f); err != nil {
		return nil, err
	}
	return &storedFile{
		cid: c, size: f.Table.Size(), read: sizeOf(f),
		outside: map[digest.Algorithm]bool{}, inside: map[digest.Algorithm]bool{},
	}, nil
}
