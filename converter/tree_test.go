package converter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// Each name has all files of its image, so a short list of names can stand for any number
// of files. The tags of one name share the files.
func TestFilesOfManyNamesAreBounded(t *testing.T) {
	ws, err := blob.NewWorkspace(t.Context(), t.TempDir(), blob.Form{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const blobs, most = 1000, tree.MaxPaths / 1000
	g := newGraph()
	for i := range blobs {
		g.blobs[digest.FromString(fmt.Sprint(i))] = nil
	}
	data := []byte("{}")
	n := &manifest.Node{Manifest: layout.Manifest{Data: data, Digest: digest.FromBytes(data)}}
	g.add(n, n.Digest)
	var names, tags []*image
	for i := range 2 * most {
		names = append(names, &image{ref: ref{fmt.Sprint("app", i), "v1"}, graph: g})
		tags = append(tags, &image{ref: ref{"app", fmt.Sprint("v", i)}, graph: g})
	}
	if _, err := newTree(names, ws); err == nil || !strings.Contains(err.Error(), "more than 262144 files") {
		t.Errorf("%d names of an image with %d blobs: %v", len(names), blobs, err)
	}
	got, err := newTree(tags, ws)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != blobs+1+len(tags) || len(got.Images) != len(tags) {
		t.Errorf("%d tags of an image with %d blobs have %d files, and %d images", len(tags), blobs, len(got.Files), len(got.Images))
	}
}
