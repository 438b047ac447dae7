// Package trustless gets files and directories below a CID from gateways that
// nobody has to trust: whatever a gateway sends is verified before a caller sees
// it.
//
// A CID is the hash of a block, and a block names the blocks below it. So a path
// is followed from the root by verified blocks alone, and a name that its verified
// directory does not have is proved to be absent; a gateway's 404 proves nothing.
//
// Blocks come in a CAR, or one by one. A file is asked for as it is where a
// gateway serves that, which costs the gateway least: the file's leaf table is
// fetched beside it, and each leaf is checked against the table before any of it
// goes on. So a gateway can lie about one leaf at most before the next gateway
// goes on, from the beginning of that leaf.
//
// Memory is bounded for all requests together: blocks that are remembered, leaf
// tables, and blocks of CARs that came before they were wanted.
package trustless

import (
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Config is what a Client is made of.
type Config struct {
	Pool  *gateway.Pool
	Nodes Nodes // may be nil
}

// Nodes keep verified blocks longer than a client does: directories, nodes of
// files, and small files. No gateway is asked for a block that they have.
type Nodes interface {
	// Node returns a block, which it has verified again.
	Node(c cid.Cid) ([]byte, bool)

	AddNode(b unixfs.Block)
}

// A Client gets content from gateways and verifies all of it. Its methods may be
// called concurrently.
type Client struct {
	pool  *gateway.Pool
	nodes Nodes

	blocks  *memo.Cache[string, []byte] // directories and nodes of files, by multihash
	files   *memo.Cache[string, *File]  // by place
	lookups memo.Group[string, *File]   // by place
	early   atomic.Int64                // bytes of blocks that came before they were wanted
}

// maxRemembered is how many bytes of blocks, and how many of leaf tables, a client
// remembers.
const maxRemembered = 32 << 20

// NewClient returns a client of the pool's gateways.
func NewClient(c Config) *Client {
	return &Client{
		pool:   c.Pool,
		nodes:  c.Nodes,
		blocks: memo.NewCache(maxRemembered, func(hash string, data []byte) int { return len(hash) + len(data) }),
		files:  memo.NewCache(maxRemembered, func(key string, f *File) int { return len(key) + f.memory() }),
	}
}

// Forget forgets all blocks and files, so that they are fetched again.
func (c *Client) Forget() {
	c.blocks.Clear()
	c.files.Clear()
}

// remember keeps a verified block.
func (c *Client) remember(b unixfs.Block) {
	c.blocks.Add(string(b.CID.Hash()), b.Data)
	if c.nodes != nil {
		c.nodes.AddNode(b)
	}
}

// recall returns a block that was remembered.
func (c *Client) recall(id cid.Cid) ([]byte, bool) {
	data, ok := c.blocks.Get(string(id.Hash()))
	if ok || c.nodes == nil {
		return data, ok
	}
	if data, ok = c.nodes.Node(id); ok {
		c.blocks.Add(string(id.Hash()), data)
	}
	return data, ok
}

// A Session is a client on behalf of one request.
type Session struct {
	*Client

	// Failed is called for each attempt that failed: from several goroutines at
	// once, and after the request ended, too, where other requests wait for what
	// it began. It may be nil.
	Failed func(gateway.Failure)
}

// A File is what the nodes above its leaves say of a file.
type File struct {
	CID  cid.Cid
	Size int64

	// Table lists the leaves. It is nil where the file's shape has no table.
	Table *unixfs.Table
}

// leafMemory is how many bytes a leaf takes in a table.
const leafMemory = 40

func (f *File) memory() int {
	if f.Table == nil {
		return 0
	}
	return cap(f.Table.Leaves) * leafMemory
}

// fileKey is the key of a place in a client's files.
func fileKey(at ipfspath.Place) string { return at.Root.KeyString() + "/" + at.Path }
