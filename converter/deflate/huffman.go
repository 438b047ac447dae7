package deflate

import (
	"math/bits"
	"slices"
)

// A code is a Huffman code: for each symbol its word, with the bits in the order in
// which they are written, and the length of the word in bits. A symbol that does not
// occur has length 0.
type code struct {
	words   []uint16
	lengths []uint8
}

func newCode(symbols int) code {
	return code{make([]uint16, symbols), make([]uint8, symbols)}
}

// A builder makes codes. It exists to reuse its memory.
type builder struct {
	leaves  []uint32 // frequency and symbol of each leaf, sorted
	weights []uint32 // of the inner nodes, in the order in which they are made
	parents []uint16 // of the inner nodes; replaced by their depths later
}

const symbolBits = 9 // the low bits of a leaf are the symbol, the others the frequency

// build makes the code for symbols of the given frequencies, with no word longer than
// maxLength bits. The code has at least two words, since some decoders refuse a code
// that is not complete.
func (b *builder) build(c code, frequencies []uint32, maxLength int) {
	clear(c.words)
	clear(c.lengths)
	b.leaves = b.leaves[:0]
	for symbol, n := range frequencies {
		if n > 0 {
			b.leaves = append(b.leaves, n<<symbolBits|uint32(symbol))
		}
	}
	if len(b.leaves) < 2 {
		used := 0
		if len(b.leaves) == 1 {
			used = int(b.leaves[0] & (1<<symbolBits - 1))
		}
		c.lengths[max(used, 1)], c.lengths[0] = 1, 1
	} else {
		slices.Sort(b.leaves)
		b.setLengths(c.lengths, maxLength)
	}
	c.setWords()
}

// setLengths gives each symbol the length of its word: the longest words go to the
// rarest symbols and, among equally frequent ones, to the lowest.
func (b *builder) setLengths(lengths []uint8, maxLength int) {
	counts := b.count(maxLength)
	leaf := 0
	for length := maxLength; length > 0; length-- {
		for range counts[length] {
			lengths[b.leaves[leaf]&(1<<symbolBits-1)] = uint8(length)
			leaf++
		}
	}
}

// count returns how many words there are of each length. It builds Huffman's tree
// and then visits the inner nodes from the root down. At first both children of the
// root count as leaves, which makes two words of length 1. Each inner node visited
// after that turns out to be no leaf: one word of its depth becomes two that are one
// bit longer. If that would exceed maxLength, the longest shorter word is split
// instead. The result is not always the best code of limited length, but it is always
// complete.
//
// This is libdeflate's compute_length_counts, translated. Copyright 2016 Eric Biggers,
// copyright 2024 Google LLC, MIT licence: see the file NOTICE.
func (b *builder) count(maxLength int) (counts [16]int) {
	b.join()
	counts[1] = 2
	root := len(b.weights) - 1
	b.parents[root] = 0 // depth
	for node := root - 1; node >= 0; node-- {
		depth := b.parents[b.parents[node]] + 1
		b.parents[node] = depth
		at := min(int(depth), maxLength-1)
		for counts[at] == 0 {
			at--
		}
		counts[at]--
		counts[at+1] += 2
	}
	return counts
}

// join builds the tree: it joins the two lightest nodes until one is left. Of a leaf
// and an inner node of equal weight, it takes the leaf.
func (b *builder) join() {
	n := len(b.leaves) - 1
	b.weights = slices.Grow(b.weights[:0], n)
	b.parents = slices.Grow(b.parents[:0], n)[:n]
	leaf, node := 0, 0
	lightest := func() uint32 {
		if leaf < len(b.leaves) && (node == len(b.weights) || b.leaves[leaf]>>symbolBits <= b.weights[node]) {
			leaf++
			return b.leaves[leaf-1] >> symbolBits
		}
		b.parents[node] = uint16(len(b.weights))
		node++
		return b.weights[node-1]
	}
	for range n {
		first := lightest()
		b.weights = append(b.weights, first+lightest())
	}
}

// setWords assigns the canonical words for the lengths (RFC 1951, 3.2.2), with their
// bits reversed, as deflate writes them.
func (c code) setWords() {
	var counts, next [16]uint16
	for _, n := range c.lengths {
		counts[n]++
	}
	counts[0] = 0
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + counts[n-1]) << 1
	}
	for symbol, n := range c.lengths {
		if n > 0 {
			c.words[symbol] = bits.Reverse16(next[n]) >> (16 - n)
			next[n]++
		}
	}
}

// used returns the number of symbols up to the last one that has a word.
func (c code) used() int {
	n := len(c.lengths)
	for c.lengths[n-1] == 0 {
		n--
	}
	return n
}
