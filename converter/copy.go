package converter

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
)

// Copy puts everything below a root to dst, verified on its way. The root stays,
// unless it is put onto another one. Of the options, Profile, Onto and Logf
// count.
func Copy(ctx context.Context, from origin.Origin, root cid.Cid, dst Destination, o Options) (*Result, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := tree.Read(ctx, from, root, o.Progress)
	if err != nil {
		return nil, err
	}
	if len(t.Images) == 0 {
		return nil, fmt.Errorf("there is no image below %s", origin.Address(root))
	}
	if o.Onto != nil {
		if err := copyOnto(ctx, t, dst, o); err != nil {
			return nil, err
		}
	}
	return commit(ctx, dst, t, o)
}

func copyOnto(ctx context.Context, t *tree.Tree, dst Destination, o Options) error {
	ws, err := o.workspace(ctx, dst.TempDir())
	if err != nil {
		return err
	}
	base, err := o.base(ctx)
	if err != nil {
		return err
	}
	t.DropAliases()
	return t.Finish(ws, base, o.Logf)
}
