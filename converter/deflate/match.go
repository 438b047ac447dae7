package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	window   = 32 << 10
	minMatch = 4 // deflate has matches of 3, which are seldom worth finding
	maxMatch = 258

	// lookahead is how many bytes must follow where a match is looked for.
	lookahead = 8
)

// An effort is how hard to look for matches.
type effort struct {
	depth int    // places looked at
	nice  uint32 // bytes of a match that is good enough
	lazy  uint32 // bytes below which a match gives way to a longer one at the next byte
	skip  uint   // after this power of two of bytes without a match, every other place is skipped, and so on
}

var efforts = [MaxLevel + 1]effort{
	1: {1, 8, 0, 5},
	2: {2, 12, 0, 5},
	3: {3, 12, 6, 6},
	4: {4, 16, 8, 6},
	5: {6, 24, 12, 6},
	6: {8, 32, 16, 6},
	7: {16, 64, 32, 7},
	8: {64, 128, 64, 9},
	9: {256, 258, 258, 16},
}

// A match is a run of bytes that occurred before.
type match struct{ length, distance uint32 }

// matches knows where bytes occurred: the last place for each hash of four
// bytes, and for each place the one before it with the same hash. 0 is no place,
// which loses the first byte of a piece.
type matches struct {
	last   [1 << hashBits]uint32
	before [window]uint32
}

const hashBits = 16

// reset forgets everything. What is left in before is not reached from last.
func (m *matches) reset() { clear(m.last[:]) }

// note notes that four bytes are at a place, and returns the place before it.
func (m *matches) note(four, at uint32) uint32 {
	last := &m.last[four*0x9e3779b1>>(32-hashBits)]
	before := *last
	*last = at
	m.before[at%window] = before
	return before
}

// insert notes the places from i to end.
func (m *matches) insert(piece []byte, i, end uint32) {
	for ; i < end; i++ {
		m.note(binary.LittleEndian.Uint32(piece[i:]), i)
	}
}

// find notes the place i, and looks for a match of its bytes longer than so
// many. If there is none, the length returned is what was given.
func (m *matches) find(piece []byte, i, longerThan uint32, depth int, nice uint32) match {
	eight := binary.LittleEndian.Uint64(piece[i:])
	best := match{length: longerThan}
	tooFar := uint32(max(0, int(i)-window))
	for at := m.note(uint32(eight), i); at > tooFar; at = m.before[at%window] {
		differ := binary.LittleEndian.Uint64(piece[at:]) ^ eight
		if uint32(differ) == 0 {
			n := uint32(bits.TrailingZeros64(differ)) / 8
			if differ == 0 {
				n = common(piece[at:], piece[i:])
			}
			if n > best.length {
				best = match{n, i - at}
				if n >= nice {
					break
				}
			}
		}
		if depth--; depth <= 0 {
			break
		}
	}
	return best
}

// common returns how many bytes, of eight that are known to be and at most
// maxMatch, a and its later part b begin with in common.
func common(a, b []byte) uint32 {
	b = b[:min(len(b), maxMatch)]
	a = a[:len(b)]
	n := 8
	for ; n+8 <= len(b); n += 8 {
		if differ := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); differ != 0 {
			return uint32(n + bits.TrailingZeros64(differ)/8)
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return uint32(n)
}
