package converter

import (
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Result says where the images of an archive are now.
type Result struct {
	Root   cid.Cid
	Images []Image // in the archive's order

	latest map[string]digest.Digest // by name: what is pulled without a tag
}

func (t *Tree) result() *Result {
	r := &Result{t.Root.CID, t.Images, map[string]digest.Digest{}}
	for _, img := range t.Images {
		f, there := t.Files[layout.ManifestPath(img.Name, layout.Latest)]
		if there && f.node().CID.Equals(t.Files[layout.ManifestPath(img.Name, img.Digest.String())].node().CID) {
			r.latest[img.Name] = img.Digest
		}
	}
	return r
}

// An Image is one reference of a Result.
type Image struct {
	Name      string // below the root; empty where the root is the image
	Tag       string // empty for an untagged image
	MediaType string
	Digest    digest.Digest
}

// References returns what to pull: one reference for each image of the result,
// from the registry host. Where there is only one, and it goes by the name latest
// as well, the tag is left out.
func (r *Result) References(host string) ([]string, error) {
	address, err := cidname.Format(r.Root)
	if err != nil {
		return nil, fmt.Errorf("naming the result: %w", err)
	}
	references := make([]string, len(r.Images))
	for i, img := range r.Images {
		ref := host + "/" + address
		if img.Name != "" {
			ref += "/" + img.Name
		}
		switch {
		case len(r.Images) == 1 && r.latest[img.Name] == img.Digest:
		case img.Tag != "":
			ref += ":" + img.Tag
		default:
			ref += "@" + img.Digest.String()
		}
		references[i] = ref
	}
	return references, nil
}
