// Package deflate compresses the pieces of a layer, each into a gzip member of its
// own (RFC 1951, RFC 1952).
//
// The output is part of format 1: images on IPFS are addressed by it, so a piece and
// a level must give the same bytes for ever and on every machine. No compression
// library promises that, and a new version of one could move every address. So the
// encoder is part of this project, where no other project can change its output. It
// computes with integers only, has no assembly, and uses only CRC-32 and sorting from
// the standard library. Make no change here that changes the output: TestGolden has
// its hashes, and docs/format-1.md describes the algorithm.
//
// The encoder also fits its task. A piece is in memory as a whole and has at most
// about a megabyte, so no window slides and no state is carried from one piece to the
// next. A block ends where the data changes its character, which is often in a group of
// small files. As measured in docs/performance.md on a Debian of 137 MB, the
// default level 4 takes 2.12 s for 1.037 of the size that gzip -6 gives, and level 6
// takes 2.33 s for 1.027. klauspost/compress takes 2.17 s for 1.043 with its level 6,
// and 3.80 s for 1.027 with its level 7.
//
// Where a block ends (split.go) and how the lengths of code words are limited
// (huffman.go) are translated from libdeflate by Eric Biggers, whose licence is in
// the file NOTICE.
package deflate

import (
	"encoding/binary"
	"hash/crc32"
)

// An Encoder makes gzip members. It must not be used by several goroutines at once.
// It has half a megabyte of tables, so callers should reuse it. The output does not
// depend on earlier pieces.
type Encoder struct {
	effort  effort
	matches matches
	block   block
	w       bitWriter
}

// NewEncoder returns an encoder for a level, which must be from 1 to MaxLevel.
func NewEncoder(level int) *Encoder {
	return &Encoder{effort: efforts[level], block: newBlock()}
}

// memberHeader begins every member: no name, no time, and 255 for an unknown operating
// system, so that nothing of the machine gets into the output.
var memberHeader = [10]byte{0x1f, 0x8b, 8, 9: 0xff}

const memberTrailer = 8 // bytes: CRC-32 and length of the piece

// Append appends to dst the member that holds piece, and returns the longer slice.
// A piece may be empty.
func (e *Encoder) Append(dst, piece []byte) []byte {
	e.w.reset(dst, MaxMember(len(piece)))
	e.w.write(memberHeader[:])
	e.deflate(piece)
	out := e.w.bytes()
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(piece))
	return binary.LittleEndian.AppendUint32(out, uint32(len(piece)))
}

// MaxMember returns the capacity in bytes that Append needs for a piece of n bytes,
// which is a little more than n. Append allocates if dst has less.
func MaxMember(n int) int { return len(memberHeader) + maxDeflated(n) + memberTrailer }

// deflate writes the piece as one or more blocks.
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

// parse turns the piece from start on into the tokens of one block, and returns the
// offset where that block ends.
func (e *Encoder) parse(piece []byte, start int) (end int) {
	e.block.reset()
	end = min(len(piece), start+maxBlock)
	searchEnd := uint32(max(0, min(end, len(piece)-lookahead)))
	i, literals := uint32(start), uint32(start) // where the run of literals began
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
