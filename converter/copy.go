package converter

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// Copy puts everything below a root to dst, verified on its way. The root stays,
// unless it is put onto another one. Of the options, Profile, Onto and Logf
// count.
func Copy(ctx context.Context, from origin.Origin, root cid.Cid, dst Destination, o Options) (*Result, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tree, err := storedTree(ctx, from, root, o.Progress)
	if err != nil {
		return nil, err
	}
	if len(tree.Images) == 0 {
		return nil, fmt.Errorf("there is no image below %s", addressOf(root))
	}
	if o.Onto != nil {
		if err := copyOnto(ctx, tree, dst, o); err != nil {
			return nil, err
		}
	}
	return commit(ctx, dst, tree, o)
}

func copyOnto(ctx context.Context, t *Tree, dst Destination, o Options) error {
	ws, err := o.workspace(ctx, dst.TempDir())
	if err != nil {
		return err
	}
	t.dropAliases()
	if err := t.putOnto(ws.onto, ws); err != nil {
		return err
	}
	t.alias()
	t.noteLatest(ws.onto, o.Logf)
	return t.build(ws)
}

// fetch returns the blob with a file of its own in dir, and with the digest that
// its bytes have, whatever it was called.
func (b *Blob) fetch(ctx context.Context, dir string) (*Blob, error) {
	r, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := os.CreateTemp(dir, "blob-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(f, sum.Hash()), contextReader{ctx, r}); err != nil {
		os.Remove(f.Name())
		return nil, fmt.Errorf("reading blob %s: %w", b.Digest, err)
	}
	return &Blob{Path: f.Name(), Digest: sum.Digest(), File: b.File}, f.Close()
}
