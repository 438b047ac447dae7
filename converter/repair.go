package converter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// ErrNothingToRepair is the error of Repair for a root without an image of image2ipfs
// 0.1.0.
var ErrNothingToRepair = errors.New("there is nothing to repair")

// Repair writes the images of image2ipfs 0.1.0 anew, and puts them to dst with
// everything else below the root. image2ipfs 0.1.0 named compressed layers by the
// digests of the tars in them. Repaired, layers have their own digests and the manifest
// says so; configs and layers keep their bytes and leaves. Where there is no such image,
// the error is ErrNothingToRepair.
func Repair(ctx context.Context, from origin.Origin, root cid.Cid, s origin.Selection, dst Destination, o RepairOptions) (*Result, error) {
	o.Logf = orSilent(o.Logf)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := tree.Read(ctx, from, root, o.Progress)
	if err != nil {
		return nil, err
	}
	ws, err := blob.NewWorkspace(ctx, dst.TempDir(), blob.Form{Profile: o.Profile}, o.Progress)
	if err != nil {
		return nil, err
	}
	r := repair{ctx: ctx, ws: ws, tree: t}
	if err := r.images(s); err != nil {
		return nil, err
	}
	if !r.repaired {
		return nil, fmt.Errorf("%w below %s: no layer has the digest of its uncompressed tar", ErrNothingToRepair, origin.Address(root))
	}
	if err := t.Finish(ws, nil, o.Logf); err != nil {
		return nil, err
	}
	return commit(ctx, dst, t)
}

type repair struct {
	ctx      context.Context
	ws       *blob.Workspace
	tree     *tree.Tree
	repaired bool
}

// images repairs all images of the tree, which must include the selected one.
func (r *repair) images(s origin.Selection) error {
	images := r.tree.Images
	if !slices.ContainsFunc(images, func(img layout.Tagged) bool { return s.Name == "" || img.Name == s.Name }) {
		return fmt.Errorf("there is no image %s below %s", s.Name, origin.Address(r.tree.Root.CID))
	}
	r.tree.Images = nil
	for _, img := range images {
		anew, err := r.image(img)
		if err != nil {
			return fmt.Errorf("image %s: %w", ref{img.Name, img.Tag}, err)
		}
		if anew == nil {
			r.tree.Images = append(r.tree.Images, img)
			continue
		}
		r.repaired = true
		if err := addImage(r.tree, anew, map[digest.Digest]tree.File{}, r.ws); err != nil {
			return err
		}
	}
	return nil
}

// image takes an image of image2ipfs 0.1.0 out of the tree and returns it repaired. It
// returns nil for any other image.
func (r *repair) image(img layout.Tagged) (*image, error) {
	if img.MediaType != layout.DockerManifest {
		return nil, nil
	}
	manifests, data := r.manifests(img)
	if data == nil {
		return nil, nil
	}
	var m v1.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", img.Digest, err)
	}
	config, err := r.config(img.Name, m.Config)
	if err != nil {
		return nil, err
	}
	diffIDs, err := r.diffIDs(config)
	if err != nil {
		return nil, err
	}
	old, err := r.isOld(img.Name, diffIDs, m.Layers)
	if !old || err != nil {
		return nil, err
	}
	contents, err := r.layers(img.Name, m.Layers)
	if err != nil {
		return nil, err
	}
	layers := make([]*blob.Content, len(m.Layers))
	for i, d := range m.Layers {
		layers[i] = contents[d.Digest]
	}
	g, err := makeImage(config, diffIDs, layers)
	if err != nil {
		return nil, err
	}
	for _, p := range manifests {
		delete(r.tree.Files, p)
	}
	for d := range contents {
		delete(r.tree.Files, layout.BlobPath(img.Name, d))
	}
	return &image{ref: ref{img.Name, img.Tag}, graph: g}, nil
}

// manifests returns the paths of an image's manifest, and its bytes.
func (r *repair) manifests(img layout.Tagged) (paths []string, data []byte) {
	for _, p := range slices.Sorted(maps.Keys(r.tree.Files)) {
		f := r.tree.Files[p]
		if name, part, _ := layout.Split(p); part != layout.Document || name != img.Name || f.Blob != nil {
			continue
		}
		if digest.FromBytes(f.Data) == img.Digest {
			paths, data = append(paths, p), f.Data
		}
	}
	return paths, data
}

// blob returns the config or layer of that name.
func (r *repair) blob(name string, d v1.Descriptor) (*blob.Blob, error) {
	p := layout.BlobPath(name, d.Digest)
	f := r.tree.Files[p]
	switch {
	case f.Blob == nil:
		return nil, fmt.Errorf("%s is missing", p)
	case f.Blob.Size() != d.Size:
		return nil, fmt.Errorf("%s has %d bytes, and the manifest says %d", p, f.Blob.Size(), d.Size)
	}
	return f.Blob, nil
}

func (r *repair) config(name string, d v1.Descriptor) (*blob.Content, error) {
	b, err := r.blob(name, d)
	if err != nil {
		return nil, err
	}
	if b.Size() > layout.MaxManifest {
		return nil, fmt.Errorf("config %s has %d bytes, and the most is %d", d.Digest, b.Size(), layout.MaxManifest)
	}
	if b, err = b.Fetch(r.ctx, r.ws.Dir); err != nil {
		return nil, err
	}
	if b.Digest != d.Digest {
		return nil, fmt.Errorf("config %s has the digest %s", d.Digest, b.Digest)
	}
	return r.ws.ContentOf(d.Digest.String(), b, b.Digest, blob.Plain), nil
}

func (r *repair) diffIDs(config *blob.Content) ([]digest.Digest, error) {
	data, err := config.Config()
	if err != nil {
		return nil, err
	}
	c, err := manifest.ReadConfig(data)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", config.Name, err)
	}
	return c.DiffIDs, nil
}

// isOld reports whether a layer is compressed and named by its digest uncompressed.
func (r *repair) isOld(name string, diffIDs []digest.Digest, layers []v1.Descriptor) (bool, error) {
	for _, d := range layers {
		if !slices.Contains(diffIDs, d.Digest) {
			continue
		}
		b, err := r.blob(name, d)
		if err != nil {
			return false, err
		}
		if gzip, err := r.isGzip(b); gzip || err != nil {
			return gzip, err
		}
	}
	return false, nil
}

func (r *repair) isGzip(b *blob.Blob) (bool, error) {
	content, err := b.Open(r.ctx)
	if err != nil {
		return false, err
	}
	defer content.Close()
	magic := make([]byte, blob.MagicSize)
	if _, err := io.ReadFull(content, magic); err != nil && b.Size() >= int64(len(magic)) {
		return false, fmt.Errorf("reading blob %s: %w", b.Digest, err)
	}
	return blob.EncodingOf(magic) == blob.Gzipped, nil
}

// layers reads layers, several at once, and returns them by the digests that name them.
func (r *repair) layers(name string, descriptors []v1.Descriptor) (map[digest.Digest]*blob.Content, error) {
	byDigest := map[digest.Digest]v1.Descriptor{}
	for _, d := range descriptors {
		byDigest[d.Digest] = d
	}
	var mu sync.Mutex
	layers := map[digest.Digest]*blob.Content{}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, called := range slices.Sorted(maps.Keys(byDigest)) {
		g.Go(func() error {
			c, err := r.layer(name, byDigest[called])
			mu.Lock()
			defer mu.Unlock()
			layers[called] = c
			return err
		})
	}
	return layers, g.Wait()
}

func (r *repair) layer(name string, d v1.Descriptor) (*blob.Content, error) {
	b, err := r.blob(name, d)
	if err != nil {
		return nil, err
	}
	if b, err = b.Fetch(r.ctx, r.ws.Dir); err != nil {
		return nil, err
	}
	f, err := os.Open(b.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tar := digest.SHA256.Digester()
	e, err := blob.Decompress(ctxio.Reader(r.ctx, f), tar.Hash())
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	if e != blob.Gzipped {
		return nil, fmt.Errorf("layer %s is not compressed with gzip, as all layers of image2ipfs are", d.Digest)
	}
	return r.ws.ContentOf(d.Digest.String(), b, tar.Digest(), e), nil
}
