package unixfs

import (
	"context"
	"errors"
	"fmt"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
)

// The bounds of a listed directory, which no image comes near. With CIDs of a few bytes,
// a hostile directory could have millions of entries, all in memory at once.
const (
	maxDirectory = 32 << 20 // bytes of blocks
	maxEntries   = 1 << 17  // links

	tooLarge = "a directory larger than an image may have"
)

// ErrNotDirectory says that a CID is that of a file, or not UnixFS.
var ErrNotDirectory = errors.New("not a directory")

// List returns the entries of a directory by name, whether or not it is sharded. The
// error for anything else is ErrNotDirectory.
func List(ctx context.Context, get Getter, dir cid.Cid) (map[string]Node, error) {
	if dir.Type() != cid.DagProtobuf {
		return nil, ErrNotDirectory
	}
	get = limited(get, maxDirectory, tooLarge)
	block, err := get(ctx, dir)
	if err != nil {
		return nil, err
	}
	data, err := eachLink(block, func(pbLink) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", dir, err)
	}
	node, err := parseDirectoryNode(data)
	if err != nil {
		return nil, fmt.Errorf("%s is not UnixFS: %w", dir, err)
	}
	entries, links := map[string]Node{}, 0
	add := func(name []byte, c cid.Cid, size uint64) error {
		if links++; links > maxEntries {
			return errors.New(tooLarge)
		}
		entries[string(name)] = Node{c, size}
		return nil
	}
	switch node.typ {
	case ft.TDirectory:
		_, err = eachLink(block, func(l pbLink) error {
			c, err := cid.Cast(l.hash)
			if err != nil {
				return err
			}
			return add(l.name, c, l.size)
		})
	case ft.THAMTShard:
		err = listShards(ctx, get, block, nil, add)
	default:
		return nil, ErrNotDirectory
	}
	if err != nil {
		return nil, fmt.Errorf("reading the directory %s: %w", dir, err)
	}
	return entries, nil
}

// ReadDir returns the entries of the directory at the slash-separated path below root by
// name, or nil for a file. If there is neither, the error is fs.ErrNotExist.
func ReadDir(ctx context.Context, get Getter, root cid.Cid, path string) (map[string]cid.Cid, error) {
	dir, err := Walk(ctx, get, root, path)
	if err != nil {
		return nil, err
	}
	nodes, err := List(ctx, get, dir)
	if errors.Is(err, ErrNotDirectory) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make(map[string]cid.Cid, len(nodes))
	for name, node := range nodes {
		entries[name] = node.CID
	}
	return entries, nil
}
