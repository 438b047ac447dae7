package trustless

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Nodes keep verified blocks longer than a client does: directories, nodes of
// files, and small files. What they have no gateway is asked for.
type Nodes interface {
	// Node returns a block, which is verified again.
	Node(c cid.Cid) ([]byte, bool)

	AddNode(b unixfs.Block)
}

// remember keeps a verified block at hand.
func (c *Client) remember(b unixfs.Block) {
	c.blocks.add(string(b.CID.Hash()), b.Data)
	if c.Nodes != nil {
		c.Nodes.AddNode(b)
	}
}

// Forget has everything that was at hand fetched again.
func (c *Client) Forget() {
	c.blocks.clear()
	c.files.known.clear()
}

func (c *Client) remembered(id cid.Cid) ([]byte, bool) {
	data, ok := c.blocks.get(string(id.Hash()))
	if ok || c.Nodes == nil {
		return data, ok
	}
	if data, ok = c.Nodes.Node(id); ok {
		c.blocks.add(string(id.Hash()), data)
	}
	return data, ok
}

// Resolve returns what is at the slash-separated path below root: the address of
// a file and its leaves, or nil where the file's shape has no table.
func (s Session) Resolve(ctx context.Context, root cid.Cid, at string) (cid.Cid, *unixfs.Table, error) {
	f, err := s.file(ctx, root, at)
	if err != nil {
		return cid.Undef, nil, err
	}
	return f.cid, f.table, nil
}

// IsKnown reports whether Resolve would ask no gateway.
func (s Session) IsKnown(ctx context.Context, root cid.Cid, at string) bool {
	if _, known := s.files.known.get(fileKey(root, at)); known {
		return true
	}
	c, err := unixfs.Walk(ctx, s.known, root, at)
	if err != nil {
		return !isUnavailable(err)
	}
	_, err = unixfs.ReadFileUpTo(ctx, s.known, c, maxLeaves)
	return !isUnavailable(err)
}
