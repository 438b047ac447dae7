package unixfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"
)

// A trie is a sharded directory while it is built or edited. Its nodes are read when
// they are needed, and only changed ones are written.
//
// Its form depends on its entries alone. A node other than the root has at least two
// entries below it: the first two entries with the same bits of their hashes make a node,
// and the last but one that goes takes the node with it.
type trie struct {
	p    Profile
	get  Getter // bounds what is read of this directory
	root *branch
}

// A branch is a node of a trie.
type branch struct {
	slots  []branchSlot // by number
	stored Node         // undefined for a new branch and after a change
}

// A branchSlot has an entry, or a branch.
type branchSlot struct {
	number uint64
	name   string  // of an entry; empty for a branch
	node   Node    // the entry, or the branch as it was read
	branch *branch // nil as long as it has not been read
}

// An item is an entry on its way to its place.
type item struct {
	name string
	hash nameHash
	node Node // undefined to remove the entry
}

func (p Profile) newTrie() *trie { return &trie{p: p, root: new(branch)} }

// parseTrie returns a trie, given the block of its root.
func (p Profile) parseTrie(block []byte) (*trie, error) {
	root, err := p.parseBranch(block, nil)
	return &trie{p: p, root: root}, err
}

// parseBranch parses a node, given the slots on the way to it.
func (p Profile) parseBranch(block []byte, way []uint64) (*branch, error) {
	s, err := parseShard(block)
	if err != nil {
		return nil, err
	}
	if s.fanout != p.fanout() {
		return nil, fmt.Errorf("a fanout of %d in a sharded directory, where %s has %d", s.fanout, p, p.fanout())
	}
	b := &branch{slots: make([]branchSlot, len(s.links))}
	for i, l := range s.links {
		if len(l.name) > 0 && !isInPlace(l.name, append(way[:len(way):len(way)], l.slot), s.fanout) {
			return nil, fmt.Errorf("%.100q is in the wrong shard", l.name)
		}
		c, err := cid.Cast(l.hash)
		if err != nil {
			return nil, err
		}
		b.slots[i] = branchSlot{number: l.slot, name: string(l.name), node: Node{c, l.size}}
	}
	return b, nil
}

func (p Profile) fanout() uint64 { return uint64(p.params.HAMTShardWidth) }

// below returns the branch in a slot, given the slots on the way to it, this one included.
func (t *trie) below(ctx context.Context, s *branchSlot, way []uint64) (*branch, error) {
	if s.branch != nil {
		return s.branch, nil
	}
	if _, ok := nameHash(0).slot(len(way), t.p.fanout()); !ok {
		return nil, errTooDeepTrie
	}
	block, err := getShard(ctx, t.get, s.node.CID)
	if err != nil {
		return nil, err
	}
	b, err := t.p.parseBranch(block, way)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.node.CID, err)
	}
	b.stored, s.branch = s.node, b
	return b, nil
}

var errTooDeepTrie = errors.New("a sharded directory with more levels than a hash has bits for")

// place returns the index of the slot with a number, or the index at which to insert it.
func (b *branch) place(number uint64) (i int, found bool) {
	return slices.BinarySearchFunc(b.slots, number, func(s branchSlot, number uint64) int {
		return cmp.Compare(s.number, number)
	})
}

// find returns an entry, or the zero Node if there is none.
func (t *trie) find(ctx context.Context, name string) (Node, error) {
	hash, b := hashName([]byte(name)), t.root
	var way []uint64
	for {
		number, ok := hash.slot(len(way), t.p.fanout())
		if !ok {
			return Node{}, errTooDeepTrie
		}
		i, found := b.place(number)
		switch {
		case !found:
			return Node{}, nil
		case b.slots[i].name == name:
			return b.slots[i].node, nil
		case b.slots[i].name != "":
			return Node{}, nil
		}
		way = append(way, number)
		var err error
		if b, err = t.below(ctx, &b.slots[i], way); err != nil {
			return Node{}, err
		}
	}
}

// swap puts an entry, or removes it if n is the zero Node. It returns the entry that was
// there before.
func (t *trie) swap(ctx context.Context, name string, n Node) (old Node, err error) {
	return t.swapBelow(ctx, t.root, nil, item{name, hashName([]byte(name)), n})
}

func (t *trie) swapBelow(ctx context.Context, b *branch, way []uint64, it item) (old Node, err error) {
	number, ok := it.hash.slot(len(way), t.p.fanout())
	if !ok {
		return Node{}, fmt.Errorf("%.100q has the same hash as another name, and a sharded directory cannot hold both", it.name)
	}
	i, found := b.place(number)
	switch {
	case !found:
		b.slots = slices.Insert(b.slots, i, branchSlot{number: number, name: it.name, node: it.node})
	case b.slots[i].name == it.name:
		old, b.slots[i].node = b.slots[i].node, it.node
	default:
		old, err = t.swapInBranch(ctx, &b.slots[i], append(way[:len(way):len(way)], number), it)
	}
	if b.slots[i].isEmpty() {
		b.slots = slices.Delete(b.slots, i, i+1)
	}
	if old != it.node {
		b.stored = Node{}
	}
	return old, err
}

// isEmpty reports whether a slot has no entry, and no branch with any.
func (s *branchSlot) isEmpty() bool {
	if s.name == "" && s.branch != nil {
		return len(s.branch.slots) == 0
	}
	return !s.node.CID.Defined()
}

// swapInBranch is swap for the branch in a slot, or for the slot of another entry, which
// becomes a branch.
func (t *trie) swapInBranch(ctx context.Context, s *branchSlot, way []uint64, it item) (old Node, err error) {
	if s.name != "" {
		if !it.node.CID.Defined() {
			return Node{}, nil
		}
		other := item{s.name, hashName([]byte(s.name)), s.node}
		*s = branchSlot{number: s.number, branch: new(branch)}
		if _, err := t.swapBelow(ctx, s.branch, way, other); err != nil {
			return Node{}, err
		}
	}
	b, err := t.below(ctx, s, way)
	if err != nil {
		return Node{}, err
	}
	old, err = t.swapBelow(ctx, b, way, it)
	if len(b.slots) == 1 && b.slots[0].name != "" { // one entry needs no branch
		*s = branchSlot{number: s.number, name: b.slots[0].name, node: b.slots[0].node}
	}
	return old, err
}

// each calls use for each entry, until it returns false. Branches that it reads are not
// kept.
func (t *trie) each(ctx context.Context, use func(name string, n Node) bool) error {
	_, err := t.eachBelow(ctx, t.root, nil, use)
	return err
}

func (t *trie) eachBelow(ctx context.Context, b *branch, way []uint64, use func(name string, n Node) bool) (more bool, err error) {
	for _, s := range b.slots {
		if s.name != "" {
			if !use(s.name, s.node) {
				return false, nil
			}
			continue
		}
		way := append(way[:len(way):len(way)], s.number)
		below, err := t.below(ctx, &s, way)
		if err != nil {
			return false, err
		}
		if more, err := t.eachBelow(ctx, below, way, use); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// write passes the blocks of changed branches to emit, children first.
func (t *trie) write(b *branch, emit func(Block) error) (Node, error) {
	if b.stored.CID.Defined() {
		return b.stored, nil
	}
	fanout := t.p.fanout()
	width := len(strconv.FormatUint(fanout-1, 16))
	bitfield := make([]byte, fanout/8)
	var node []byte
	below := uint64(0)
	for i := range b.slots {
		s := &b.slots[i]
		if s.branch != nil {
			var err error
			if s.node, err = t.write(s.branch, emit); err != nil {
				return Node{}, err
			}
		}
		node = appendLink(node, fmt.Sprintf("%0*X%s", width, s.number, s.name), s.node)
		below += s.node.Size
		bitfield[len(bitfield)-1-int(s.number/8)] |= 1 << (s.number % 8)
	}
	block, n, err := t.p.seal(node, shardMessage(bitfield, fanout), below)
	if err != nil {
		return Node{}, err
	}
	return n, emit(block)
}

// shardMessage returns the UnixFS message of a node of a sharded directory, with the
// zero bytes at the beginning of the bitfield left out.
// https://specs.ipfs.tech/unixfs/#dag-pb-hamtdirectory
func shardMessage(bitfield []byte, fanout uint64) []byte {
	for len(bitfield) > 0 && bitfield[0] == 0 {
		bitfield = bitfield[1:]
	}
	m := []byte{0x08, byte(ft.THAMTShard)}
	m = protowire.AppendTag(m, 2, protowire.BytesType)
	m = protowire.AppendBytes(m, bitfield)
	m = protowire.AppendTag(m, 5, protowire.VarintType)
	m = protowire.AppendVarint(m, mh.MURMUR3X64_64)
	m = protowire.AppendTag(m, 6, protowire.VarintType)
	return protowire.AppendVarint(m, fanout)
}
