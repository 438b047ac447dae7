package unixfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// Directory builds the DAG of a directory with the given entries by name, sharded if
// Kubo would shard it, and passes its blocks to emit.
func (p Profile) Directory(ctx context.Context, entries map[string]Node, emit func(Block) error) (Node, error) {
	sink := &writeOnly{emit: emit}
	d, err := uio.NewDirectory(sink,
		uio.WithCidBuilder(p.builder()),
		uio.WithMaxHAMTFanout(p.params.HAMTShardWidth),
		uio.WithSizeEstimationMode(p.params.HAMTSizeEstimation))
	if err != nil {
		return Node{}, fmt.Errorf("building a directory: %w", err)
	}
	d.SetHAMTShardingSize(p.params.HAMTShardingSize)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := d.AddChild(ctx, name, entry{at: entries[name]}); err != nil {
			return Node{}, fmt.Errorf("adding %q to a directory: %w", name, err)
		}
	}
	nd, err := d.GetNode()
	if err != nil {
		return Node{}, fmt.Errorf("building a directory: %w", err)
	}
	if err := sink.Add(ctx, nd); err != nil {
		return Node{}, err
	}
	size, err := nd.Size()
	if err != nil {
		return Node{}, fmt.Errorf("building a directory: %w", err)
	}
	return Node{nd.Cid(), size}, nil
}

// Tree builds the DAG of a directory tree from its files by slash-separated path, and
// passes the blocks of its directories to emit, children first.
func (p Profile) Tree(ctx context.Context, files map[string]Node, emit func(Block) error) (Node, error) {
	entries := map[string]Node{}
	below := map[string]map[string]Node{}
	for name, node := range files {
		dir, rest, nested := strings.Cut(name, "/")
		if !nested {
			entries[name] = node
			continue
		}
		if below[dir] == nil {
			below[dir] = map[string]Node{}
		}
		below[dir][rest] = node
	}
	for _, dir := range slices.Sorted(maps.Keys(below)) {
		if _, taken := entries[dir]; taken {
			return Node{}, fmt.Errorf("%q is both a file and a directory", dir)
		}
		node, err := p.Tree(ctx, below[dir], emit)
		if err != nil {
			return Node{}, fmt.Errorf("%s: %w", path.Clean(dir), err)
		}
		entries[dir] = node
	}
	return p.Directory(ctx, entries, emit)
}

// writeOnly is a DAG service that passes every block to emit and keeps none.
type writeOnly struct {
	ipld.DAGService
	emit func(Block) error
}

var errWriteOnly = errors.New("blocks are written only")

func (s *writeOnly) Add(_ context.Context, nd ipld.Node) error {
	if _, known := nd.(entry); known {
		return nil
	}
	return s.emit(Block{nd.Cid(), nd.RawData()})
}

func (s *writeOnly) AddMany(ctx context.Context, nds []ipld.Node) error {
	for _, nd := range nds {
		if err := s.Add(ctx, nd); err != nil {
			return err
		}
	}
	return nil
}

func (s *writeOnly) Get(context.Context, cid.Cid) (ipld.Node, error) { return nil, errWriteOnly }

// An entry stands for the DAG of a directory's entry. The directory needs only its CID
// and size.
type entry struct {
	ipld.Node
	at Node
}

func (e entry) Cid() cid.Cid          { return e.at.CID }
func (e entry) Size() (uint64, error) { return e.at.Size, nil }
