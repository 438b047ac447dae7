package deflate

import (
	"math/bits"
	"slices"
)

// A code is a Huffman code: of each symbol the word, its bits in the order in
// which they are written, and their number.
type code struct {
	words   []uint16
	lengths []uint8
}

func newCode(symbols int) code {
	return code{make([]uint16, symbols), make([]uint8, symbols)}
}

// A builder makes codes. It is here to keep its memory.
type builder struct {
	leaves  []uint32 // frequency and symbol, in order
	weights []uint32 // of nodes above the leaves, in the order in which they are made
	parents []uint16 // of those, and then their depths
}

const symbolBits = 9 // of a leaf, the rest is frequency

// build makes the code for symbols that occur so often, with no word longer than
// maxLength. There are two words at least: decoders may want a code complete.
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

// setLengths counts how many words have each length, and gives the longest to
// what is rarest.
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

// count builds Huffman's tree from the leaves up and goes down it again. Where it
// is too deep, a word is made longer elsewhere instead.
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

// join makes a node of the two lightest, until there is one.
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

// setWords gives words to lengths, in the order of RFC 1951, 3.2.2.
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

// used returns the number of symbols up to the last that has a word.
func (c code) used() int {
	n := len(c.lengths)
	for c.lengths[n-1] == 0 {
		n--
	}
	return n
}
