package tree

import (
	"fmt"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Finish adds the base to the tree, if there is one, gives manifests their aliases, and
// builds the directories.
func (t *Tree) Finish(ws *blob.Workspace, base *Tree, logf func(format string, args ...any)) error {
	if base != nil {
		if err := t.putOnto(base, ws, logf); err != nil {
			return err
		}
	}
	t.addAliases()
	if base != nil {
		t.reportLatest(base, logf)
	}
	return t.build(ws)
}

// build builds the directories.
func (t *Tree) build(ws *blob.Workspace) error {
	nodes := make(map[string]unixfs.Node, len(t.Files))
	for path, f := range t.Files {
		nodes[path] = f.Node()
	}
	t.Directories = nil
	var err error
	t.Root, err = ws.Profile.Tree(ws.Context, nodes, func(b unixfs.Block) error {
		t.Directories = append(t.Directories, b)
		return nil
	})
	if err != nil {
		return fmt.Errorf("building the image's directory: %w", err)
	}
	return nil
}
