package layout

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A disco is an image as disco keeps it: a table with the CID of each digest, and tags as
// Docker's registry has them on disk.
type disco struct {
	Image
	known map[digest.Digest]cid.Cid
}

const (
	discoFile = "disco.json"
	discoTags = "_manifests/tags"

	// maxLink is more than the bytes of any file that holds only a digest.
	maxLink = 1 << 10
)

func detectDisco(ctx context.Context, tree Tree, img Image) (shape, error) {
	data, err := tree.ReadFile(ctx, img.Root, path.Join(img.Name, discoFile), MaxManifest)
	if err != nil {
		return nil, err
	}
	f := disco{img, map[digest.Digest]cid.Cid{}}
	var table struct {
		Blobs json.RawMessage `json:"blobs"`
	}
	if err := json.Unmarshal(data, &table); err != nil {
		return nil, unknownForm(discoFile + " was not written by disco")
	}
	if err := each(table.Blobs, f.add); err != nil {
		return nil, unknownForm(fmt.Sprintf("%s: %v", discoFile, err))
	}
	return f, nil
}

// A discoBlob is a row of the table.
type discoBlob struct {
	Digest string `json:"digest"` // without its algorithm
	CID    string `json:"cid"`
}

func (f disco) add(blob *discoBlob) error {
	if blob.Digest == "" || blob.CID == "" {
		return nil
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(blob.Digest, "sha256:"))
	c, err := cidname.ParseAny(blob.CID)
	if err != nil || d.Validate() != nil {
		return nil
	}
	if f.known[d] = cid.NewCidV1(c.Type(), c.Hash()); len(f.known) > maxLinks {
		return fmt.Errorf("more than %d blobs", maxLinks)
	}
	return nil
}

// Manifest implements shape.
func (f disco) Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	if !IsDigest(reference) {
		link := path.Join(f.Name, discoTags, reference, "current/link")
		data, err := tree.ReadFile(ctx, f.Root, link, maxLink)
		if err != nil {
			return Manifest{}, err
		}
		if reference = strings.TrimSpace(string(data)); !IsDigest(reference) {
			return Manifest{}, invalidError(link + " does not hold a digest")
		}
	}
	d := digest.Digest(reference)
	at, err := f.Blob(ctx, tree, d)
	if err != nil {
		return Manifest{}, err
	}
	return readAs(ctx, tree, at, d)
}

// Blob implements shape.
func (f disco) Blob(_ context.Context, _ Tree, d digest.Digest) (Place, error) {
	if c, ok := f.known[d]; ok {
		return Place{Root: c}, nil
	}
	return Place{}, fmt.Errorf("%s has no %s: %w", discoFile, d, fs.ErrNotExist)
}

// Tags implements shape.
func (f disco) Tags(ctx context.Context, tree Tree) ([]string, error) {
	entries, err := tree.ReadDir(ctx, f.Root, path.Join(f.Name, discoTags))
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(entries, func(tag string, _ cid.Cid) bool { return CheckTag(tag) != nil })
	return slices.Sorted(maps.Keys(entries)), nil
}
