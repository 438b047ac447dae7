package unixfs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// boxoTree builds a directory tree with boxo, from nothing and in the order of the names.
func boxoTree(t testing.TB, p Profile, files map[string]Node) Node {
	t.Helper()
	entries, below := map[string]Node{}, map[string]map[string]Node{}
	for name, node := range files {
		dir, rest, nested := strings.Cut(name, "/")
		switch {
		case !nested:
			entries[name] = node
		case below[dir] == nil:
			below[dir] = map[string]Node{rest: node}
		default:
			below[dir][rest] = node
		}
	}
	for dir, files := range below {
		entries[dir] = boxoTree(t, p, files)
	}
	d, err := uio.NewDirectory(new(nowhere),
		uio.WithCidBuilder(p.builder()),
		uio.WithMaxHAMTFanout(p.params.HAMTShardWidth),
		uio.WithSizeEstimationMode(p.params.HAMTSizeEstimation))
	check(t, err)
	d.SetHAMTShardingSize(p.params.HAMTShardingSize)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		check(t, d.AddChild(t.Context(), name, entry{at: entries[name]}))
	}
	nd, err := d.GetNode()
	check(t, err)
	size, err := nd.Size()
	check(t, err)
	return Node{nd.Cid(), size}
}

// nowhere is a DAG service that keeps no block.
type nowhere struct{ ipld.DAGService }

func (*nowhere) Add(context.Context, ipld.Node) error       { return nil }
func (*nowhere) AddMany(context.Context, []ipld.Node) error { return nil }

func (*nowhere) Get(context.Context, cid.Cid) (ipld.Node, error) {
	return nil, errors.New("no block is kept")
}

// An entry stands for the DAG of a directory's entry. A directory needs only its CID and
// size.
type entry struct {
	ipld.Node
	at Node
}

func (e entry) Cid() cid.Cid          { return e.at.CID }
func (e entry) Size() (uint64, error) { return e.at.Size, nil }
