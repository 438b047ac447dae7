package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// An image2ipfs is an image as image2ipfs keeps it since 0.0.4, and ipdr did before 0.1.7:
// one manifest, under the name latest-v2. ipdr keeps the config as the only file in a
// directory of its name.
type image2ipfs struct {
	Image
	digest   digest.Digest // of the manifest
	config   digest.Digest
	configAt string // the path of the config
	broken   error
}

// ErrUncompressedDigest says that a layer is stored compressed under the digest of its
// uncompressed form, as image2ipfs 0.1.0 wrote all layers. Clients refuse it.
var ErrUncompressedDigest = errors.New("it is stored compressed under the digest of its uncompressed form, as image2ipfs 0.1.0 wrote layers")

func detectImage2ipfs(ctx context.Context, tree Tree, img Image) (shape, error) {
	m, err := readManifest(ctx, tree, Place{Root: img.Root, Path: ManifestPath(img.Name, latestV2)})
	if err != nil {
		return nil, err
	}
	f := image2ipfs{Image: img, digest: m.Digest}
	leads, err := parseDocument(m.Data)
	if err != nil {
		return nil, err
	}
	if leads.Config == nil {
		return f, nil
	}
	f.config = leads.Config.Digest
	if f.configAt, err = f.findConfig(ctx, tree); err != nil {
		return nil, err
	}
	data, err := tree.ReadFile(ctx, f.Root, f.configAt, MaxManifest)
	if err != nil {
		return nil, err
	}
	f.broken = checkLayers(leads, data)
	return f, nil
}

// findConfig returns the path of the config.
func (f image2ipfs) findConfig(ctx context.Context, tree Tree) (string, error) {
	at := BlobPath(f.Name, f.config)
	entries, err := tree.ReadDir(ctx, f.Root, at)
	if err != nil {
		return "", err
	}
	if file := f.config.Encoded() + ".json"; entries[file] != cid.Undef {
		return path.Join(at, file), nil
	}
	return at, nil
}

// checkLayers returns ErrUncompressedDigest if a layer that is said to be compressed goes by
// the digest of its uncompressed form.
func checkLayers(leads document, config []byte) error {
	var image struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &image); err != nil {
		return nil // clients will say what they make of it
	}
	compressed := map[digest.Digest]bool{}
	for _, layer := range leads.Layers {
		compressed[layer.Digest] = layer.MediaType == DockerLayerGzip
	}
	for _, d := range image.RootFS.DiffIDs {
		if compressed[d] {
			return fmt.Errorf("layer %s: %w", d, ErrUncompressedDigest)
		}
	}
	return nil
}

// Manifest implements shape.
func (f image2ipfs) Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	if reference != Latest && reference != latestV2 && !IsDigest(reference) {
		return Manifest{}, fmt.Errorf("image2ipfs has no tag but %s: %w", Latest, fs.ErrNotExist)
	}
	m, err := readAs(ctx, tree, Place{Root: f.Root, Path: ManifestPath(f.Name, latestV2)}, f.digest)
	if err != nil {
		return Manifest{}, err
	}
	if d := digest.Digest(reference); IsDigest(reference) {
		if !m.is(d) {
			return Manifest{}, fmt.Errorf("the only manifest is %s: %w", f.digest, fs.ErrNotExist)
		}
		m.Digest = d
	}
	return m, f.broken
}

// Blob implements shape.
func (f image2ipfs) Blob(_ context.Context, _ Tree, d digest.Digest) (Place, error) {
	if d == f.config {
		return Place{Root: f.Root, Path: f.configAt}, nil
	}
	return Place{Root: f.Root, Path: BlobPath(f.Name, d)}, nil
}

// Tags implements shape.
func (f image2ipfs) Tags(context.Context, Tree) ([]string, error) { return []string{Latest}, nil }
