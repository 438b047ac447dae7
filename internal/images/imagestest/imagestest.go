// Package imagestest has images, stores that hold them and gateways that serve them, for
// tests.
package imagestest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Images is a directory on IPFS with an image as the converter lays it out, one as
// image2ipfs did, and one as ipdr does, which has no name.
type Images struct {
	Files  map[string][]byte // by path
	Built  map[string]*unixfs.File
	Blocks map[string][]byte // by multihash
	Root   cid.Cid

	Manifest, Artifact []byte
	Config, Layer      []byte
}

// The names of the first two images.
const (
	Ours  = "team/app"
	Older = "old"
)

// New returns images, whose layer is long enough to be cut.
func New(t testing.TB) *Images {
	t.Helper()
	im := &Images{
		Files:  map[string][]byte{},
		Config: []byte(`{"architecture":"amd64"}`),
		Layer:  Random(700_001),
	}
	im.Manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q},"layers":[{"digest":%q}]}`,
		layout.DockerManifest, digest.FromBytes(im.Config), digest.FromBytes(im.Layer))
	im.Artifact = []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	for _, m := range []struct {
		name, reference string
		data            []byte
	}{
		{Ours, "v1", im.Manifest},
		{Ours, "latest", im.Manifest},
		{Ours, digest.FromBytes(im.Manifest).String(), im.Manifest},
		{Ours, "index", im.Artifact},
		{Ours, digest.FromBytes(im.Artifact).String(), im.Artifact},
		{Ours, digest.FromString("false").String(), im.Manifest},
		{Ours, "page", []byte("<html>")},
		{Older, "latest-v2", im.Manifest},
		{"", "latest", im.Manifest},
		{"", digest.FromBytes(im.Manifest).String(), im.Manifest},
	} {
		im.Files[layout.ManifestPath(m.name, m.reference)] = m.data
	}
	for _, name := range []string{Ours, Older, ""} {
		for _, b := range [][]byte{im.Config, im.Layer} {
			im.Files[layout.BlobPath(name, digest.FromBytes(b))] = b
		}
	}
	im.Files[layout.BlobPath(Ours, digest.FromString("false"))] = im.Config
	im.Files[layout.BlobPath(Ours, digest.FromString(""))] = []byte{}
	return im.With(t, nil)
}

// With adds files below the root, which is another one then.
func (im *Images) With(t testing.TB, files map[string][]byte) *Images {
	t.Helper()
	for path, content := range files {
		im.Files[path] = content
	}
	im.Built, im.Blocks = map[string]*unixfs.File{}, map[string][]byte{}
	for path, content := range im.Files {
		im.Built[path] = im.add(t, content)
	}
	im.Root = im.directories(t, im.put)
	return im
}

// WithOCI adds an image that is an OCI layout, without a tag.
func (im *Images) WithOCI(t testing.TB, name string) *Images {
	t.Helper()
	d := digest.FromBytes(im.Manifest)
	return im.With(t, map[string][]byte{
		name + "/index.json":                  fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q}]}`, d),
		name + "/oci-layout":                  []byte("{}"),
		name + "/blobs/sha256/" + d.Encoded(): im.Manifest,
	})
}

func (im *Images) put(b unixfs.Block) error {
	im.Blocks[string(b.CID.Hash())] = b.Data
	return nil
}

// add adds the blocks of a file.
func (im *Images) add(t testing.TB, content []byte) *unixfs.File {
	t.Helper()
	c := unixfs.V1.NewCutter()
	c.Write(content)
	table := c.Table()
	f, err := unixfs.V1.Layout(table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range table.Leaves {
		from := table.Start(i)
		im.put(table.Block(i, content[from:table.Leaves[i].End]))
	}
	for _, nd := range f.Nodes {
		im.put(nd)
	}
	return f
}

// directories hands the blocks of the directories to emit, and returns the root.
func (im *Images) directories(t testing.TB, emit func(unixfs.Block) error) cid.Cid {
	t.Helper()
	nodes := map[string]unixfs.Node{}
	for path, f := range im.Built {
		nodes[path] = f.Node
	}
	root, err := unixfs.V1.Tree(context.Background(), nodes, emit)
	if err != nil {
		t.Fatal(err)
	}
	return root.CID
}

// Store returns the directory of a store that has the images.
func (im *Images) Store(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	imp, err := store.Open(dir).BeginImport()
	if err != nil {
		t.Fatal(err)
	}
	defer imp.Close()
	if err := imp.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, content := range im.Files {
		if strings.Contains(path, "manifests/") {
			err = imp.Node(im.Built[path].Table.Block(0, content))
		} else {
			tmp := filepath.Join(imp.TempDir(), "blob")
			err = errors.Join(os.WriteFile(tmp, content, 0o600), imp.Blob(tmp, digest.FromBytes(content), im.Built[path]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	im.directories(t, imp.Node)
	if err := imp.Commit(im.Root, store.Record{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Repository spells the image of that name for a client.
func (im *Images) Repository(t testing.TB, name string) string {
	t.Helper()
	s, err := cidname.Format(im.Root)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(s+"/"+name, "/")
}

// BlobURL returns the path by which a client asks for a blob.
func (im *Images) BlobURL(t testing.TB, content []byte) string {
	t.Helper()
	return "/v2/" + im.Repository(t, Ours) + "/blobs/" + digest.FromBytes(content).String()
}

// ManifestURL returns the path by which a client asks for a manifest.
func (im *Images) ManifestURL(t testing.TB, name, reference string) string {
	t.Helper()
	return "/v2/" + im.Repository(t, name) + "/manifests/" + reference
}

// Trail returns the CIDs on a path below the root.
func (im *Images) Trail(t testing.TB, path string) []cid.Cid {
	t.Helper()
	trail, err := unixfs.Trail(t.Context(), im.get, im.Root, path)
	if err != nil {
		t.Fatal(err)
	}
	return trail
}

// Random returns n bytes, always the same.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}
