package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Addition is images in format 1, without aliases, that are added to the own root. The
// store has their files already.
type Addition struct {
	Images    []layout.Tagged
	Files     map[string]unixfs.Node        // by path, but for the indexes of referrers
	Referrers map[string]manifest.Referrers // by the path of their index

	What, User string // for the log of the root

	// Moved is called for each tag that named another image before.
	Moved func(layout.Tagged)
}

// Change adds the images to a draft of the root, for Root.Change. Their tags move, and what
// the repositories had stays.
func (a Addition) Change(ctx context.Context, draft *store.Draft) error {
	changes := make(map[string]*unixfs.Node, len(a.Files))
	for path, node := range a.Files {
		changes[path] = &node
	}
	for path, referrers := range a.Referrers {
		var err error
		if changes[path], err = editReferrers(ctx, draft, path, func(all manifest.Referrers) { maps.Copy(all, referrers) }); err != nil {
			return err
		}
	}
	for _, img := range a.Images {
		reference := img.Digest.String()
		if img.Tag != "" {
			reference = img.Tag
			if err := a.reportMoved(ctx, draft, img); err != nil {
				return err
			}
		}
		draft.Note(store.Action{What: a.What, Name: img.Name, Reference: reference, Digest: img.Digest, User: a.User})
	}
	return draft.Edit(ctx, changes)
}

func (a Addition) reportMoved(ctx context.Context, draft *store.Draft, img layout.Tagged) error {
	path := layout.ManifestPath(img.Name, img.Tag)
	before, err := draft.Lookup(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the tag %s: %w", img, err)
	}
	if !before.Equals(a.Files[path].CID) {
		a.Moved(img)
	}
	return nil
}
