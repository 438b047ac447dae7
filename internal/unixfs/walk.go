package unixfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// A Getter returns the data of the block that c addresses. What it returns is
// trusted to be that block's.
type Getter func(ctx context.Context, c cid.Cid) ([]byte, error)

// Walk follows the slash-separated path below root through directories, sharded
// ones included, and returns the CID it ends at, whose own block is not read.
// Where a directory does not have the next name, the error is fs.ErrNotExist.
func Walk(ctx context.Context, get Getter, root cid.Cid, path string) (cid.Cid, error) {
	trail, err := Trail(ctx, get, root, path)
	if err != nil || len(trail) == 0 {
		return root, err
	}
	return trail[len(trail)-1], nil
}

// Trail is Walk that returns all CIDs that it came by, but for root, in order.
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
	ds := readOnly{get: get}
	nd, err := ds.node(ctx, dir)
	if err != nil {
		return cid.Undef, err
	}
	fsn, err := ft.FSNodeFromBytes(nd.Data())
	if err != nil {
		return cid.Undef, fmt.Errorf("not UnixFS: %w", err)
	}
	var link *ipld.Link
	switch fsn.Type() {
	case ft.TDirectory:
		link, err = nd.GetNodeLink(name)
	case ft.THAMTShard:
		link, err = shardLink(ctx, get, nd, name)
	default:
		return cid.Undef, fmt.Errorf("a file, not a directory: %w", fs.ErrNotExist)
	}
	if errors.Is(err, dag.ErrLinkNotFound) {
		return cid.Undef, fs.ErrNotExist
	}
	if err != nil {
		return cid.Undef, err
	}
	return link.Cid, nil
}

// shardLink looks a name up in a sharded directory. That a block of it is not to be
// had does not say that the name is not there.
func shardLink(ctx context.Context, get Getter, nd *dag.ProtoNode, name string) (*ipld.Link, error) {
	var failed error
	ds := readOnly{get: func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := get(ctx, c)
		failed = err
		return data, err
	}}
	shard, err := hamt.NewHamtFromDag(ds, nd)
	if err != nil {
		return nil, err
	}
	link, err := shard.Find(ctx, name)
	switch {
	case failed != nil:
		return nil, failed
	case errors.Is(err, fs.ErrNotExist):
		return nil, dag.ErrLinkNotFound
	}
	return link, err
}

// readOnly is as much of a DAG service as walking a sharded directory needs.
type readOnly struct {
	ipld.DAGService
	get Getter
}

func (s readOnly) Get(ctx context.Context, c cid.Cid) (ipld.Node, error) { return s.node(ctx, c) }

func (s readOnly) node(ctx context.Context, c cid.Cid) (*dag.ProtoNode, error) {
	data, err := s.get(ctx, c)
	if err != nil {
		return nil, err
	}
	block, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		return nil, err
	}
	nd, err := dag.DecodeProtobufBlock(block)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", c, err)
	}
	return nd.(*dag.ProtoNode), nil
}
