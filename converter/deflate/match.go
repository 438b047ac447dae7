package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	window   = 32 << 10
	minMatch = 4 // deflate allows matches of 3 bytes, which are seldom worth finding
	maxMatch = 258

	// lookahead is how many bytes a piece must have from a place on for the encoder
	// to look for a match there.
	lookahead = 8
)

// MaxLevel is the level of the smallest members. Level 1 is the fastest.
const MaxLevel = 9

// An effort is how hard a level looks for matches.
type effort struct {
	depth int    // earlier places to compare with
	nice  uint32 // a match of so many bytes ends the search
	lazy  uint32 // a match shorter than this is dropped for a longer one at the next byte
	skip  uint   // after 2^skip bytes without a match, look at every second place only, after twice as many at every third, …
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

// A match is a run of bytes that occurred before, so many bytes earlier.
type match struct{ length, distance uint32 }

// matches knows where bytes occurred: for each hash of four bytes the last place, and
// for each place the one before it with the same hash. Place 0 means none, so nothing
// matches the very beginning of a piece.
type matches struct {
	last   [1 << hashBits]uint32
	before [window]uint32
}

const hashBits = 16

// reset forgets all places. Chains begin in last, so before need not be cleared.
func (m *matches) reset() { clear(m.last[:]) }

// note records the place of four bytes, and returns the last place with the same hash.
func (m *matches) note(four, at uint32) uint32 {
	last := &m.last[four*0x9e3779b1>>(32-hashBits)]
	before := *last
	*last = at
	m.before[at%window] = before
	return before
}

// insert records the places from i up to end.
func (m *matches) insert(piece []byte, i, end uint32) {
	for ; i < end; i++ {
		m.note(binary.LittleEndian.Uint32(piece[i:]), i)
	}
}

// find records the place i and looks for the nearest longest match of the bytes there
// that has more than longerThan bytes. If there is none, it returns a match of length
// longerThan and distance 0.
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

// common returns how many bytes a and b begin with in common, at most maxMatch. The
// first eight are known to be equal, and a is at least as long as b.
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
