package unixfs

import (
	"context"
	"errors"
	"fmt"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
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
func List(ctx context.Context, get Getter, dir cid.Cid) (entries map[string]Node, err error) {
	err = list(ctx, get, dir, func(n int) { entries = make(map[string]Node, n) }, func(name []byte, n Node) { entries[string(name)] = n })
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// list calls begin with the number of entries, or 0 for a directory that is sharded, and
// then use for each entry.
func list(ctx context.Context, get Getter, dir cid.Cid, begin func(n int), use func(name []byte, n Node)) error {
	if dir.Type() != cid.DagProtobuf {
		return ErrNotDirectory
	}
	get = limited(get, maxDirectory, tooLarge)
	block, err := get(ctx, dir)
	if err != nil {
		return err
	}
	links := 0
	data, err := eachLink(block, func(pbLink) error {
		links++
		return nil
	})
	if err != nil {
		return fmt.Errorf("decoding %s: %w", dir, err)
	}
	node, err := parseDirectoryNode(data)
	if err != nil {
		return fmt.Errorf("%s is not UnixFS: %w", dir, err)
	}
	switch node.typ {
	case ft.TDirectory:
		begin(min(links, maxEntries))
		err = listPlain(ctx, block, links, use)
	case ft.THAMTShard:
		begin(0)
		err = listSharded(ctx, get, block, use)
	default:
		return ErrNotDirectory
	}
	if err != nil {
		return fmt.Errorf("reading the directory %s: %w", dir, err)
	}
	return nil
}

func listPlain(ctx context.Context, block []byte, links int, use func(name []byte, n Node)) error {
	if links > maxEntries {
		return errors.New(tooLarge)
	}
	done, err := budget.Turn(ctx, len(block))
	if err != nil {
		return err
	}
	defer done()
	_, err = eachLink(block, func(l pbLink) error {
		c, err := cid.Cast(l.hash)
		if err == nil {
			use(l.name, Node{c, l.size})
		}
		return err
	})
	return err
}

func listSharded(ctx context.Context, get Getter, block []byte, use func(name []byte, n Node)) error {
	links := 0
	return listShards(ctx, get, block, nil, func(name []byte, c cid.Cid, size uint64) error {
		if links++; links > maxEntries {
			return errors.New(tooLarge)
		}
		use(name, Node{c, size})
		return nil
	})
}

// ReadDir returns the entries of the directory at the slash-separated path below root by
// name, or nil for a file. If there is neither, the error is fs.ErrNotExist.
func ReadDir(ctx context.Context, get Getter, root cid.Cid, path string) (map[string]cid.Cid, error) {
	dir, err := Walk(ctx, get, root, path)
	if err != nil {
		return nil, err
	}
	var entries map[string]cid.Cid
	err = list(ctx, get, dir, func(n int) { entries = make(map[string]cid.Cid, n) }, func(name []byte, n Node) { entries[string(name)] = n.CID })
	if errors.Is(err, ErrNotDirectory) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return entries, nil
}
