package denylist

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"

	mh "github.com/multiformats/go-multihash"
)

// A key stands for a multihash in tables: the digest of a sha2-256 multihash, which
// nearly all are, or the sha2-256 digest of any other multihash.
type key [sha256.Size]byte

func keyOf(h mh.Multihash) key {
	if len(h) == 2+sha256.Size && h[0] == mh.SHA2_256 && h[1] == sha256.Size {
		return key(h[2:])
	}
	return sha256.Sum256(h)
}

func (k key) compare(other key) int {
	if c := cmp.Compare(binary.BigEndian.Uint64(k[:]), binary.BigEndian.Uint64(other[:])); c != 0 {
		return c
	}
	return bytes.Compare(k[:], other[:])
}

// An entry is a rule in 40 bytes.
type entry struct {
	key    key
	line   uint32
	action uint32 // in List.actions
}

// A table holds rules sorted by key, and then by line.
type table []entry

// A pile collects rules for a table, apart by the first byte of their key: sorting many
// short tables takes less work than sorting a long one.
type pile [256]table

func (p *pile) add(k key, line, action uint32) {
	p[k[0]] = append(p[k[0]], entry{k, line, action})
}

// table returns the sorted table, without spare capacity.
func (p *pile) table() table {
	for _, t := range p {
		slices.SortFunc(t, func(a, b entry) int {
			if c := a.key.compare(b.key); c != 0 {
				return c
			}
			return cmp.Compare(a.line, b.line)
		})
	}
	return slices.Clip(slices.Concat(p[:]...))
}

// find returns the entries with a key, in the order of their lines.
func (t table) find(k key) table {
	first := sort.Search(len(t), func(i int) bool { return t[i].key.compare(k) >= 0 })
	last := first
	for last < len(t) && t[last].key == k {
		last++
	}
	return t[first:last]
}
