package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	endOfBlock  = 256 // the symbol after the literals
	firstLength = 257 // the symbol of the shortest lengths

	lengthSymbols   = 286 // literals, end of block and lengths
	distanceSymbols = 30

	maxLengthWord   = 14 // bits; one less than deflate allows, so that four literals fit into a put
	maxDistanceWord = 15
)

// A block is a run of the piece that is compressed with codes of its own.
type block struct {
	tokens    []token
	lengths   [lengthSymbols]uint32   // how often each literal or length symbol occurs
	distances [distanceSymbols]uint32 // how often each distance symbol occurs
	split     splitter

	lengthCode, distanceCode code
	header                   blockHeader
	builder                  builder
}

// A token is a run of literals and the match after it. The last token of a block
// has a match of length 0.
type token struct {
	literals         uint32
	length, distance uint16
}

func newBlock() block {
	return block{lengthCode: newCode(lengthSymbols), distanceCode: newCode(distanceSymbols), header: newBlockHeader()}
}

func (b *block) reset() {
	b.tokens = b.tokens[:0]
	clear(b.lengths[:])
	clear(b.distances[:])
	b.split = splitter{}
}

// add adds literals and the match after them.
func (b *block) add(literals []byte, m match) {
	for _, v := range literals {
		b.lengths[v]++
	}
	b.split.addLiterals(literals)
	b.tokens = append(b.tokens, token{uint32(len(literals)), uint16(m.length), uint16(m.distance)})
	if m.length == 0 {
		return
	}
	b.lengths[lengthWords[m.length].symbol]++
	b.distances[distanceOf(m.distance).symbol]++
	b.split.addMatch(m.length)
}

// write writes the block, whose bytes are data: compressed, or stored where that is
// not larger.
func (b *block) write(w *bitWriter, data []byte, last bool) {
	b.lengths[endOfBlock] = 1
	b.builder.build(b.lengthCode, b.lengths[:], maxLengthWord)
	b.builder.build(b.distanceCode, b.distances[:], maxDistanceWord)
	b.header.make(&b.builder, b.lengthCode, b.distanceCode)
	final := uint64(0)
	if last {
		final = 1
	}
	if b.bits() >= storedBits(len(data)) {
		writeStored(w, data, final)
		return
	}
	w.put(final|2<<1, 3)
	b.header.write(w)
	b.writeTokens(w, data)
	w.put(uint64(b.lengthCode.words[endOfBlock]), uint(b.lengthCode.lengths[endOfBlock]))
}

// bits returns the size of the compressed block in bits.
func (b *block) bits() int {
	n := 3 + b.header.bits()
	for symbol, count := range b.lengths {
		n += int(count) * (int(b.lengthCode.lengths[symbol]) + extraOfLength(symbol))
	}
	for symbol, count := range b.distances {
		n += int(count) * (int(b.distanceCode.lengths[symbol]) + extraOfDistance(symbol))
	}
	return n
}

// writeTokens writes the tokens as put would. It keeps the writer's fields in local
// variables, for speed, and writes four literals at a time.
func (b *block) writeTokens(w *bitWriter, data []byte) {
	literals, lengths := b.words()
	out, n, bit, pending := w.out, w.n, w.bit, w.pending
	for _, t := range b.tokens {
		run := data[:t.literals]
		data = data[t.literals+uint32(t.length):]
		for ; len(run) >= 4; run = run[4:] {
			first := literals[run[0]].and(literals[run[1]])
			second := literals[run[2]].and(literals[run[3]])
			bit |= uint64(first.bits)<<(pending&63) | uint64(second.bits)<<((pending+uint(first.length))&63)
			pending += uint(first.length + second.length)
			binary.LittleEndian.PutUint64(out[n:], bit)
			n += int(pending / 8)
			bit >>= pending &^ 7 & 63
			pending &= 7
		}
		for _, v := range run {
			word := literals[v]
			bit |= uint64(word.bits) << (pending & 63)
			pending += uint(word.length)
		}
		binary.LittleEndian.PutUint64(out[n:], bit)
		n += int(pending / 8)
		bit >>= pending &^ 7 & 63
		pending &= 7
		if t.length == 0 {
			continue
		}
		word, d := lengths[t.length], distanceOf(uint32(t.distance))
		bit |= uint64(word.bits) << (pending & 63)
		pending += uint(word.length)
		length := uint(b.distanceCode.lengths[d.symbol])
		bit |= (uint64(b.distanceCode.words[d.symbol]) | uint64(d.value)<<length) << (pending & 63)
		pending += length + uint(d.extra)
		binary.LittleEndian.PutUint64(out[n:], bit)
		n += int(pending / 8)
		bit >>= pending &^ 7 & 63
		pending &= 7
	}
	w.n, w.bit, w.pending = n, bit, pending
}

// A word is the code word of a literal, or the code word and the extra bits of a
// match length.
type word struct{ bits, length uint32 }

func (a word) and(b word) word { return word{a.bits | b.bits<<(a.length&31), a.length + b.length} }

func (b *block) words() (literals [256]word, lengths [maxMatch + 1]word) {
	for symbol := range literals {
		literals[symbol] = word{uint32(b.lengthCode.words[symbol]), uint32(b.lengthCode.lengths[symbol])}
	}
	for n := minMatch; n <= maxMatch; n++ {
		l := lengthWords[n]
		length := uint32(b.lengthCode.lengths[l.symbol])
		lengths[n] = word{uint32(b.lengthCode.words[l.symbol]) | l.value<<length, length + l.extra}
	}
	return literals, lengths
}

// An extended is the symbol of a length or distance, and the extra bits after it
// that tell which of the symbol's values is meant.
type extended struct{ symbol, extra, value uint32 }

// lengthWords has the symbol and extra bits of each match length (RFC 1951, 3.2.5).
var lengthWords = func() (words [maxMatch + 1]extended) {
	length := 3
	for symbol := firstLength; symbol < lengthSymbols-1; symbol++ {
		extra := extraOfLength(symbol)
		for value := range 1 << extra {
			words[min(length, maxMatch)] = extended{uint32(symbol), uint32(extra), uint32(value)}
			length++
		}
	}
	words[maxMatch] = extended{symbol: lengthSymbols - 1}
	return words
}()

func extraOfLength(symbol int) int {
	if symbol < firstLength+8 || symbol == lengthSymbols-1 {
		return 0
	}
	return (symbol-firstLength)/4 - 1
}

func extraOfDistance(symbol int) int { return max(0, symbol/2-1) }

func distanceOf(distance uint32) extended {
	n := distance - 1
	if n < 4 {
		return extended{symbol: n}
	}
	extra := uint32(bits.Len32(n) - 2)
	return extended{2*extra + n>>extra, extra, n & (1<<extra - 1)}
}

// maxStored is the largest size in bytes of one stored block.
const maxStored = 1<<16 - 1

// storedBits returns an upper bound of the bits that n bytes take in stored blocks.
// It decides between the two forms of a block, so it is part of format 1.
func storedBits(n int) int { return 8*n + 48*(n/maxStored+1) }

// maxDeflated returns an upper bound of the bytes that a piece of n bytes becomes,
// with room for put, which stores eight bytes at a time.
func maxDeflated(n int) int { return n + 6*(n/minBlock+n/maxStored+2) + 8 }

func writeStored(w *bitWriter, data []byte, final uint64) {
	for {
		run := data[:min(len(data), maxStored)]
		data = data[len(run):]
		if len(data) > 0 {
			w.put(0, 3)
		} else {
			w.put(final, 3)
		}
		w.align()
		w.put(uint64(len(run)), 16)
		w.put(uint64(^uint16(len(run))), 16)
		w.write(run)
		if len(data) == 0 {
			return
		}
	}
}
