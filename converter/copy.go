package converter

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
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
	if o.Onto != nil && len(t.Images) == 0 {
		return nil, fmt.Errorf("there is no image in %s to put onto another root", origin.Address(root))
	}
	if o.Onto != nil {
		if err := copyOnto(ctx, t, dst, o); err != nil {
			return nil, err
		}
	}
	return commit(ctx, dst, t)
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
