package unixfs

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// Walk follows the slash-separated path below root through directories, sharded or not,
// and returns the CID at its end, whose block it does not read. If a directory does not
// have the next name, the error is fs.ErrNotExist.
func Walk(ctx context.Context, get Getter, root cid.Cid, path string) (cid.Cid, error) {
	trail, err := Trail(ctx, get, root, path)
	if err != nil || len(trail) == 0 {
		return root, err
	}
	return trail[len(trail)-1], nil
}

// Trail is Walk that returns all CIDs on the path in order, without root.
func Trail(ctx context.Context, get Getter, root cid.Cid, path string) ([]cid.Cid, error) {
	var trail []cid.Cid
	at := root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		next, err := child(ctx, get, at, name)
		if err != nil {
			return nil, fmt.Errorf("looking up %q in %s: %w", name, at, err)
		}
		at = next
		trail = append(trail, at)
	}
	return trail, nil
}

func child(ctx context.Context, get Getter, dir cid.Cid, name string) (cid.Cid, error) {
	if dir.Type() != cid.DagProtobuf {
		return cid.Undef, fmt.Errorf("a file, not a directory: %w", fs.ErrNotExist)
	}
	if ctx.Err() != nil {
		return cid.Undef, context.Cause(ctx)
	}
	block, err := get(ctx, dir)
	if err == nil {
		err = budget.Spend(ctx, len(block))
	}
	if err != nil {
		return cid.Undef, err
	}
	var found []byte
	data, err := eachLink(block, func(l pbLink) error {
		if found == nil && string(l.name) == name {
			found = l.hash
		}
		return nil
	})
	if err != nil {
		return cid.Undef, fmt.Errorf("decoding %s: %w", dir, err)
	}
	node, err := parseDirectoryNode(data)
	switch {
	case err != nil:
		return cid.Undef, fmt.Errorf("%s is not UnixFS: %w", dir, err)
	case node.typ == ft.THAMTShard:
		return findInShards(ctx, get, block, name)
	case node.typ != ft.TDirectory:
		return cid.Undef, fmt.Errorf("a file, not a directory: %w", fs.ErrNotExist)
	case found == nil:
		return cid.Undef, fs.ErrNotExist
	}
	return cid.Cast(found)
}
