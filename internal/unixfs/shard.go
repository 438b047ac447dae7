package unixfs

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/bits"
	"strconv"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/spaolacci/murmur3"
)

// A directory that is too large for one block is sharded: it is a tree of nodes in which
// the hash of an entry's name determines its place. Each level of nodes takes the next
// bits of the hash, from the highest on. A node has at most one link for each value of
// these bits, its slots: to an entry, or to the node of all entries with those bits.
//
// This reader accepts what that definition allows and nothing else: no slot occurs
// twice, and no entry is where a look-up would not find it. So its work is bounded by
// the number of entries, even in a hostile directory.
// https://specs.ipfs.tech/unixfs/#dag-pb-hamtdirectory

// maxFanout is the most links of one node, as in boxo. Kubo makes nodes of 256.
const maxFanout = 1 << 10

// A shard is a node of a sharded directory.
type shard struct {
	links  []shardLink // by slot
	fanout uint64
}

type shardLink struct {
	slot uint64
	name []byte // empty for a node below
	hash []byte
	size uint64
}

// parseShard parses a node. The result shares the memory of the block.
func parseShard(block []byte) (shard, error) {
	var links []pbLink
	data, err := eachLink(block, func(l pbLink) error {
		if links = append(links, l); len(links) > maxFanout {
			return fmt.Errorf("more than %d links", maxFanout)
		}
		return nil
	})
	if err != nil {
		return shard{}, err
	}
	node, err := parseDirectoryNode(data)
	switch {
	case err != nil:
		return shard{}, err
	case node.typ != ft.THAMTShard:
		return shard{}, fmt.Errorf("a node of type %s in a sharded directory", node.typ)
	case node.hashType != mh.MURMUR3X64_64:
		return shard{}, fmt.Errorf("hash function %#x in a sharded directory", node.hashType)
	case node.fanout < 8 || node.fanout > maxFanout || bits.OnesCount64(node.fanout) != 1:
		return shard{}, fmt.Errorf("a fanout of %d in a sharded directory", node.fanout)
	}
	return newShard(node, links)
}

func newShard(node directoryNode, links []pbLink) (shard, error) {
	s := shard{fanout: node.fanout, links: make([]shardLink, 0, len(links))}
	set := 0
	for _, b := range node.bitfield {
		set += bits.OnesCount8(b)
	}
	if set != len(links) {
		return shard{}, fmt.Errorf("a shard with %d links that states %d", len(links), set)
	}
	width := len(strconv.FormatUint(node.fanout-1, 16))
	for i, l := range links {
		if len(l.name) < width {
			return shard{}, fmt.Errorf("a link of a shard has no slot: %.40q", l.name)
		}
		slot, err := strconv.ParseUint(string(l.name[:width]), 16, 16)
		if err != nil || slot >= node.fanout || i > 0 && slot <= s.links[i-1].slot {
			return shard{}, fmt.Errorf("a link of a shard is out of order: %.40q", l.name)
		}
		s.links = append(s.links, shardLink{slot, l.name[width:], l.hash, l.size})
	}
	return s, nil
}

// A nameHash is the hash of an entry's name.
type nameHash uint64

func hashName(name []byte) nameHash { return nameHash(murmur3.Sum64(name)) }

// slot returns the hash's slot in a node with depth nodes above it. It returns false if
// the hash has no bits left.
func (h nameHash) slot(depth int, fanout uint64) (uint64, bool) {
	n := bits.TrailingZeros64(fanout)
	if (depth+1)*n > 64 {
		return 0, false
	}
	return uint64(h) << (depth * n) >> (64 - n), true
}

// findInShards looks a name up in the sharded directory below a node, given its block.
func findInShards(ctx context.Context, get Getter, block []byte, name string) (cid.Cid, error) {
	hash := hashName([]byte(name))
	for depth := 0; ; depth++ {
		s, err := parseShard(block)
		if err != nil {
			return cid.Undef, err
		}
		slot, ok := hash.slot(depth, s.fanout)
		if !ok {
			return cid.Undef, fmt.Errorf("a sharded directory with more levels than a hash has bits for")
		}
		link, ok := s.find(slot)
		if !ok || len(link.name) > 0 && !bytes.Equal(link.name, []byte(name)) {
			return cid.Undef, fs.ErrNotExist
		}
		next, err := cid.Cast(link.hash)
		if err != nil {
			return cid.Undef, err
		}
		if len(link.name) > 0 {
			return next, nil
		}
		if block, err = getShard(ctx, get, next); err != nil {
			return cid.Undef, err
		}
	}
}

// getShard gets the block of a node. A raw block cannot be one, whatever its bytes are.
func getShard(ctx context.Context, get Getter, c cid.Cid) ([]byte, error) {
	if c.Type() != cid.DagProtobuf {
		return nil, fmt.Errorf("%s is not a node of a sharded directory", c)
	}
	return get(ctx, c)
}

func (s shard) find(slot uint64) (shardLink, bool) {
	for _, l := range s.links {
		if l.slot == slot {
			return l, true
		}
	}
	return shardLink{}, false
}

// listShards calls add for each entry below a node, given its block and the slots on the
// way to it.
func listShards(ctx context.Context, get Getter, block []byte, slots []uint64, add func(name []byte, c cid.Cid, size uint64) error) error {
	s, err := parseShard(block)
	if err != nil {
		return err
	}
	for _, l := range s.links {
		c, err := cid.Cast(l.hash)
		if err != nil {
			return err
		}
		at := append(slots[:len(slots):len(slots)], l.slot)
		if len(l.name) > 0 {
			if !isInPlace(l.name, at, s.fanout) {
				return fmt.Errorf("%.100q is in the wrong shard", l.name)
			}
			if err := add(l.name, c, l.size); err != nil {
				return err
			}
			continue
		}
		if _, ok := nameHash(0).slot(len(at), s.fanout); !ok {
			return fmt.Errorf("a sharded directory with more levels than a hash has bits for")
		}
		below, err := getShard(ctx, get, c)
		if err != nil {
			return err
		}
		if err := listShards(ctx, get, below, at, add); err != nil {
			return err
		}
	}
	return nil
}

// isInPlace reports whether the slots on the way to an entry are those of its name.
func isInPlace(name []byte, slots []uint64, fanout uint64) bool {
	hash := hashName(name)
	for depth, slot := range slots {
		if want, ok := hash.slot(depth, fanout); !ok || want != slot {
			return false
		}
	}
	return true
}
