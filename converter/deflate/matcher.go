package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	window   = 32 << 10
	minMatch = 4
	maxMatch = 258

	hashBits = 16
)

// Effort says how hard to look for matches.
type Effort struct {
	Depth  int // candidates looked at
	Nice   int // bytes of a match that is good enough
	Lazy   int // matches shorter than this are put off where the next byte has a longer one
	Skip   uint
	Insert int
}

// A token is a run of literals and the match after it, if there is one.
type token struct {
	literals uint32
	length   uint16
	distance uint16
}

// A matcher finds where bytes occurred before: the last place for each hash of
// four bytes, and before each place the one before with the same hash. Places
// begin with 1; 0 is none.
type matcher struct {
	heads [1 << hashBits]uint32
	prev  [window]uint32
}

func load32(b []byte, i uint32) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
func load64(b []byte, i uint32) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

func (m *matcher) insert(v, at uint32) uint32 {
	h := v * 0x9e3779b1 >> (32 - hashBits)
	before := m.heads[h&(1<<hashBits-1)]
	m.heads[h&(1<<hashBits-1)] = at
	m.prev[at%window] = before
	return before
}

func extend(src []byte, a, b uint32) uint32 {
	s := src[b:]
	if len(s) > maxMatch {
		s = s[:maxMatch]
	}
	t := src[a:][:len(s)]
	n := 8
	for n+8 <= len(s) {
		if x := binary.LittleEndian.Uint64(t[n:]) ^ binary.LittleEndian.Uint64(s[n:]); x != 0 {
			return uint32(n + bits.TrailingZeros64(x)>>3)
		}
		n += 8
	}
	for n < len(s) && s[n] == t[n] {
		n++
	}
	return uint32(n)
}

// longest
func (m *matcher) longest(src []byte, x uint64, i, c, best uint32, depth int, nice uint32) (length, distance uint32) {
	var lowest uint32
	if i >= window {
		lowest = i - window + 1
	}
	for c > lowest {
		y := load64(src, c) ^ x
		if uint32(y) == 0 {
			n := uint32(bits.TrailingZeros64(y)) >> 3
			if y == 0 {
				n = extend(src, c, i)
			}
			if n > best {
				best, distance = n, i-c
				if n >= nice {
					break
				}
			}
		}
		depth--
		if depth <= 0 {
			break
		}
		c = m.prev[c%window]
	}
	return best, distance
}
