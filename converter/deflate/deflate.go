// Package deflate compresses the pieces of a layer, each to a gzip member.
//
// Pieces are in memory whole and have at most a few hundred kilobytes, which a
// general encoder cannot know: nothing slides, nothing is kept from one piece to
// the next, and a block ends where what is compressed changes, which in a group
// of small files is often. So this takes two thirds of the time in which
// klauspost/compress gives the same size.
//
// Members are part of format 1: a given piece and level must give the same bytes
// for ever, on every machine. So there is no assembly, and nothing here depends
// on a library. Everything that reads gzip reads them (RFC 1951, RFC 1952).
package deflate

import (
	"encoding/binary"
	"hash/crc32"
)

// An Encoder makes members. It is for one goroutine, and has half a megabyte of
// tables, so it should be used again.
type Encoder struct {
	effort  effort
	matches matches
	block   block
	w       bitWriter
}

// MaxLevel is the level that gives the smallest members, and 1 the fastest.
const MaxLevel = 9

// NewEncoder returns an encoder of a level from 1 to MaxLevel.
func NewEncoder(level int) *Encoder {
	return &Encoder{effort: efforts[level], block: newBlock()}
}

// header is a gzip member's, without a time or a system.
var header = [10]byte{0x1f, 0x8b, 8, 9: 0xff}

const trailer = 8 // bytes

// Append appends the member that holds piece to dst.
func (e *Encoder) Append(dst, piece []byte) []byte {
	e.w.reset(dst, MaxMember(len(piece)))
	e.w.write(header[:])
	e.deflate(piece)
	out := e.w.bytes()
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(piece))
	return binary.LittleEndian.AppendUint32(out, uint32(len(piece)))
}

// MaxMember is the most memory that Append needs for a piece of n bytes: a little
// more than the piece has.
func MaxMember(n int) int { return len(header) + maxDeflated(n) + trailer }

// deflate writes the piece as blocks.
func (e *Encoder) deflate(piece []byte) {
	e.matches.reset()
	for start := 0; ; {
		end := e.parse(piece, start)
		last := end == len(piece)
		e.block.write(&e.w, piece[start:end], last)
		if last {
			return
		}
		start = end
	}
}

// A block ends at maxBlock bytes, if not before. None has less than minBlock
// unless the piece has.
const (
	minBlock = 5 << 10
	maxBlock = 300 << 10
)

// parse turns the piece from start on into the tokens of a block, and returns
// where that ends.
func (e *Encoder) parse(piece []byte, start int) (end int) {
	e.block.reset()
	end = min(len(piece), start+maxBlock)
	searchEnd := uint32(max(0, min(end, len(piece)-lookahead)))
	i, literals := uint32(start), uint32(start) // where literals began
	for i < searchEnd {
		if i == literals && len(piece)-int(i) >= minBlock && e.block.split.ends(int(i)-start) {
			end = int(i)
			break
		}
		m := e.matches.find(piece, i, minMatch-1, e.effort.depth, e.effort.nice)
		if m.length < minMatch {
			i += 1 + (i-literals)>>e.effort.skip
			continue
		}
		next := i + 1
		for m.length < e.effort.lazy && next < searchEnd {
			later := e.matches.find(piece, next, m.length, e.effort.depth/2, e.effort.nice)
			next++
			if later.length <= m.length {
				break
			}
			m = later
			i++
		}
		e.block.add(piece[literals:i], m)
		i += m.length
		literals = i
		e.matches.insert(piece, next, min(i, searchEnd))
	}
	end = max(end, int(literals)) // the last match may go beyond
	e.block.add(piece[literals:end], match{})
	return end
}
