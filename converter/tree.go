package converter

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// newTree returns the tree of the images, which Finish then completes.
func newTree(images []*image, ws *blob.Workspace) (*tree.Tree, error) {
	t := &tree.Tree{Files: map[string]tree.File{}}
	files := map[digest.Digest]tree.File{}
	byName := map[string][]*image{} // without further tags of the same image
	type named struct {
		name string
		*graph
	}
	added := map[named]bool{}
	for _, img := range images {
		if key := (named{img.name, img.graph}); added[key] {
			addTag(t, img)
		} else {
			added[key] = true
			byName[img.name] = append(byName[img.name], img)
			if err := addImage(t, img, files, ws); err != nil {
				return nil, err
			}
		}
		if len(t.Files) > tree.MaxPaths {
			return nil, fmt.Errorf("the images have more than %d files, counted for each name: convert them a few at a time", tree.MaxPaths)
		}
	}
	for name, images := range byName {
		if err := addReferrerIndexes(t, name, images, ws); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// addImage adds the files of an image. A manifest becomes a file once, however many
// names lead to it.
func addImage(t *tree.Tree, img *image, files map[digest.Digest]tree.File, ws *blob.Workspace) error {
	for _, m := range img.manifests() {
		f, made := files[m.Digest]
		if !made {
			var err error
			if f, err = tree.NewFile(ws, m.Data); err != nil {
				return err
			}
			files[m.Digest] = f
		}
		t.Files[layout.ManifestPath(img.name, m.Digest.String())] = f
	}
	for name, b := range img.blobs {
		t.Files[layout.BlobPath(img.name, name)] = tree.File{Blob: b}
	}
	addTag(t, img)
	return nil
}

// addTag adds the tag of an image whose files are there.
func addTag(t *tree.Tree, img *image) {
	if img.tag != "" {
		t.Files[layout.ManifestPath(img.name, img.tag)] = t.Files[layout.ManifestPath(img.name, img.top.Digest.String())]
	}
	t.Images = append(t.Images, layout.Tagged{Name: img.name, Tag: img.tag, MediaType: img.top.MediaType, Digest: img.top.Digest})
}

func addReferrerIndexes(t *tree.Tree, name string, images []*image, ws *blob.Workspace) error {
	indexes, err := referrerIndexes(images)
	if err != nil {
		return err
	}
	for subject, data := range indexes {
		f, err := tree.NewFile(ws, data)
		if err != nil {
			return err
		}
		t.Files[layout.ReferrersPath(name, subject)] = f
	}
	return nil
}
