// Package trustless gets files and directories below a CID from gateways that need not be
// trusted: it verifies everything that a gateway sends before a caller sees it.
//
// A CID is the hash of a block, and a block names the blocks below it. So a client follows
// a path from the root by verified blocks alone, and a verified directory proves that a
// name is absent; a gateway's 404 proves nothing.
//
// Blocks come in a CAR, or one by one. If a gateway serves files as they are, which costs
// it least, the client fetches the leaf table beside the file and checks each leaf
// against the table before it passes the leaf on. So a gateway can waste one leaf of
// false bytes before the next gateway continues from the beginning of that leaf.
//
// Memory is bounded for all requests together: remembered blocks and leaf tables by
// caches, and everything that a request holds by the process's budget. A file whose leaf
// table does not fit is streamed from its blocks.
package trustless

import (
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Config is the configuration of a Client.
type Config struct {
	Pool  *gateway.Pool
	Nodes Nodes // may be nil

	// Budget bounds the memory of requests that are being answered. Nil is no bound.
	// With a budget, the context of each request must end.
	Budget *budget.Budget

	// Tables bounds the memory of leaf tables in use. Nil is no bound.
	Tables *budget.Budget
}

// Nodes keep verified blocks longer than a client does: directories, nodes of files, and
// small files. No gateway is asked for a block that they have.
type Nodes interface {
	// Node returns a block that was verified again.
	Node(c cid.Cid) ([]byte, bool)

	AddNode(b unixfs.Block)
}

// A Client gets content from gateways and verifies all of it. Its methods may be
// called concurrently.
type Client struct {
	pool   *gateway.Pool
	nodes  Nodes
	budget *budget.Budget
	early  *budget.Budget // of blocks that came before they were wanted
	tables tables

	writes tokens // of nodes to disk

	blocks  *memo.Cache[string, []byte] // directories and nodes of files, by multihash
	files   *memo.Cache[string, *File]  // by place
	lookups memo.Group[string, *File]   // by place
}

// maxRemembered is the most bytes of blocks, and the most bytes of leaf tables, that a
// client remembers.
const maxRemembered = 32 << 20

// earlyPart is the part of the budget for early blocks of all CARs: a quarter.
const earlyPart = 4

// NewClient returns a client of the pool's gateways.
func NewClient(c Config) *Client {
	return &Client{
		pool:   c.Pool,
		nodes:  c.Nodes,
		budget: c.Budget,
		early:  c.Budget.Part(earlyPart),
		tables: tables{budget: c.Tables},
		blocks: memo.NewCache(maxRemembered, func(hash string, data []byte) int { return len(hash) + len(data) }),
		files:  memo.NewCache(maxRemembered, func(key string, f *File) int { return len(key) + f.memory() }),
	}
}

// Forget forgets all blocks and files, so that they are fetched again.
func (c *Client) Forget() {
	c.blocks.Clear()
	c.files.Clear()
}

// remember keeps a verified block, in memory and on disk.
func (c *Client) remember(b unixfs.Block) {
	c.blocks.Add(string(b.CID.Hash()), b.Data)
	if c.nodes != nil && c.writes.take() {
		c.nodes.AddNode(b)
	}
}

// recall returns a remembered block.
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

	// Failed is called for each attempt that failed. Several goroutines may call it
	// at once, and also after the request ended, if other requests share its
	// look-up. It may be nil.
	Failed func(gateway.Failure)
}

// A File is a file as the nodes above its leaves state it.
type File struct {
	CID  cid.Cid
	Size int64

	// Table lists the leaves. It is nil if no table can describe the file, or if the
	// tables of other files leave no memory for it.
	Table *unixfs.Table

	isCrowded bool // Table is nil for the second reason
}

func (f *File) memory() int {
	if f.Table == nil {
		return 0
	}
	return int(memoryOf(cap(f.Table.Leaves)))
}

// fileKey is the key of a place in a client's files.
func fileKey(at ipfspath.Place) string { return at.Root.KeyString() + "/" + at.Path }
