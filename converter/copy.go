package converter

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Copy writes everything below a root to dst, and verifies it on the way. The root
// stays the same, unless its images are added to another one. The root may hold no
// images.
func Copy(ctx context.Context, from origin.Origin, root cid.Cid, dst Destination, o CopyOptions) (*Result, error) {
	o.Logf = orSilent(o.Logf)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := tree.Read(ctx, from, root, o.Progress)
	if err != nil {
		return nil, err
	}
	to, added := dst.(adder)
	switch {
	case (o.Onto != nil || added) && len(t.Images) == 0:
		err = fmt.Errorf("there is no image in %s to put onto another root", origin.Address(root))
	case added:
		err = forAdding(to, t)
	case o.Onto != nil:
		err = copyOnto(ctx, t, dst, o)
	}
	if err != nil {
		return nil, err
	}
	return commit(ctx, dst, t)
}

// forAdding makes a tree that was read one of images alone that can be added to a root of its
// own.
func forAdding(dst adder, t *tree.Tree) error {
	if err := checkAdded(dst, t.Images); err != nil {
		return err
	}
	t.DropAliases()
	t.DropOthers()
	for _, img := range t.Images {
		byDigest := layout.ManifestPath(img.Name, img.Digest.String())
		if _, there := t.Files[byDigest]; there {
			continue
		}
		f, there := t.Files[layout.ManifestPath(img.Name, img.Tag)]
		if !there {
			return fmt.Errorf("%s is not in format 1, as images that are put onto the store's own root must be: `converter export` writes it, and converter reads it again", img)
		}
		t.Files[byDigest] = f
	}
	return nil
}

func copyOnto(ctx context.Context, t *tree.Tree, dst Destination, o CopyOptions) error {
	ws, err := blob.NewWorkspace(ctx, dst.TempDir(), blob.Form{Profile: o.Profile}, o.Progress)
	if err != nil {
		return err
	}
	base, err := o.Onto.read(ctx, o.Progress)
	if err != nil {
		return err
	}
	t.DropAliases()
	return t.Finish(ws, base, o.Logf)
}
