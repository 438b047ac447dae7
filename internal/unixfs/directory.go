package unixfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// Directory builds the DAG of a directory with the given entries by name, sharded if
// Kubo would shard it, and passes its blocks to emit, children first.
func (p Profile) Directory(ctx context.Context, entries map[string]Node, emit func(Block) error) (Node, error) {
	d := p.newDirectory()
	for name, n := range entries {
		if err := d.set(ctx, name, n); err != nil {
			return Node{}, err
		}
	}
	return d.write(ctx, emit)
}

// A directory is a directory while it is built or edited. It is one node, with all of
// its entries here, or a trie.
//
// Its entries alone decide which of both it becomes: a trie if they exceed the profile's
// limit. boxo's DynamicDirectory decides in the same way, but it measures a sharded
// directory again for each entry that shrinks, which reads up to 256 KiB of it, and it
// takes quadratic time for the entries of one node.
type directory struct {
	p      Profile
	stored Node // as it was read; undefined for a new one and after a change

	entries map[string]Node
	size    int // of the entries, as the profile measures it

	trie  *trie // nil for one node
	grown int   // by how much the entries of the trie are larger than when it was read
}

func (p Profile) newDirectory() *directory {
	return &directory{p: p, entries: map[string]Node{}, size: p.measureEmpty()}
}

// measure returns what an entry adds to the size that decides about sharding.
func (p Profile) measure(name string, n Node) int {
	switch {
	case !n.CID.Defined():
		return 0
	case p.params.HAMTSizeEstimation == uio.SizeEstimationLinks:
		return len(name) + n.CID.ByteLen()
	}
	return encodedLink(name, n)
}

// measureEmpty returns the size that a directory without entries has.
func (p Profile) measureEmpty() int {
	if p.params.HAMTSizeEstimation == uio.SizeEstimationLinks {
		return 0
	}
	return 2 + len(directoryMessage)
}

// directoryMessage is the UnixFS message of a directory that is not sharded: its type.
var directoryMessage = []byte{0x08, byte(ft.TDirectory)}

// readDirectory reads a directory: the first node of a sharded one, and all of any other.
// The error for anything else is ErrNotDirectory.
func (p Profile) readDirectory(ctx context.Context, get Getter, dir cid.Cid) (*directory, error) {
	if dir.Type() != cid.DagProtobuf {
		return nil, ErrNotDirectory
	}
	get = limited(get, maxDirectory, tooLarge)
	block, err := get(ctx, dir)
	if err != nil {
		return nil, err
	}
	done, err := budget.Turn(ctx, len(block))
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := p.parseDirectory(block)
	if err != nil {
		return nil, fmt.Errorf("reading the directory %s: %w", dir, err)
	}
	d.stored.CID = dir
	if d.trie != nil {
		d.trie.get = get
	}
	return d, nil
}

func (p Profile) parseDirectory(block []byte) (*directory, error) {
	d := p.newDirectory()
	d.stored.Size = uint64(len(block))
	links := 0
	data, err := eachLink(block, func(l pbLink) error {
		d.stored.Size += l.size
		if links++; links > maxEntries {
			return errors.New(tooLarge)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	node, err := parseDirectoryNode(data)
	switch {
	case err != nil:
		return nil, err
	case node.typ == ft.THAMTShard:
		d.entries = nil
		d.trie, err = p.parseTrie(block)
		return d, err
	case node.typ != ft.TDirectory:
		return nil, ErrNotDirectory
	}
	return d, d.parseEntries(block)
}

func (d *directory) parseEntries(block []byte) error {
	_, err := eachLink(block, func(l pbLink) error {
		name := string(l.name)
		if _, taken := d.entries[name]; taken || name == "" {
			return fmt.Errorf("a directory with two entries %.100q, or with one without a name", name)
		}
		c, err := cid.Cast(l.hash)
		n := Node{c, l.size}
		d.entries[name] = n
		d.size += d.p.measure(name, n)
		return err
	})
	return err
}

// find returns an entry, or the zero Node if there is none.
func (d *directory) find(ctx context.Context, name string) (Node, error) {
	if d.trie == nil {
		return d.entries[name], nil
	}
	return d.trie.find(ctx, name)
}

// set puts an entry in the place of any other of its name. The zero Node removes it.
func (d *directory) set(ctx context.Context, name string, n Node) error {
	if name == "" {
		return errors.New("an entry of a directory needs a name")
	}
	if d.trie != nil {
		old, err := d.trie.swap(ctx, name, n)
		d.changed(old, n)
		d.grown += d.p.measure(name, n) - d.p.measure(name, old)
		return err
	}
	old := d.entries[name]
	d.changed(old, n)
	d.size += d.p.measure(name, n) - d.p.measure(name, old)
	if d.entries[name] = n; !n.CID.Defined() {
		delete(d.entries, name)
	}
	return nil
}

func (d *directory) changed(old, n Node) {
	if old != n {
		d.stored = Node{}
	}
}

func (d *directory) isEmpty() bool {
	if d.trie != nil {
		return len(d.trie.root.slots) == 0
	}
	return len(d.entries) == 0
}

// write passes the blocks that changed to emit.
func (d *directory) write(ctx context.Context, emit func(Block) error) (Node, error) {
	if d.stored.CID.Defined() {
		return d.stored, nil
	}
	if err := d.settle(ctx); err != nil {
		return Node{}, err
	}
	if d.trie != nil {
		return d.trie.write(d.trie.root, emit)
	}
	below := uint64(0)
	node := make([]byte, 0, d.size)
	for _, name := range slices.Sorted(maps.Keys(d.entries)) {
		n := d.entries[name]
		node = appendLink(node, name, n)
		below += n.Size
	}
	block, n, err := d.p.seal(node, directoryMessage, below)
	if err != nil {
		return Node{}, err
	}
	return n, emit(block)
}

// settle turns one node with too many entries into a trie, and a trie with too few into
// one node. The latter takes reading the trie until its entries exceed the limit, and is
// needed only if they became fewer or smaller: a trie that was read did exceed it.
func (d *directory) settle(ctx context.Context) error {
	limit := d.p.params.HAMTShardingSize
	if d.trie == nil {
		if d.size <= limit {
			return nil
		}
		d.trie = d.p.newTrie()
		for name, n := range d.entries {
			if _, err := d.trie.swap(ctx, name, n); err != nil {
				return err
			}
		}
		return nil
	}
	if d.grown >= 0 {
		return nil
	}
	entries, size := map[string]Node{}, d.p.measureEmpty()
	err := d.trie.each(ctx, func(name string, n Node) bool {
		entries[name] = n
		size += d.p.measure(name, n)
		return size <= limit
	})
	if err == nil && size <= limit {
		d.entries, d.size, d.trie = entries, size, nil
	}
	return err
}
