package deflate

// A blockHeader tells a decoder the two codes of a block (RFC 1951, 3.2.7). It holds
// the lengths of all code words, as runs that are compressed with a third code.
type blockHeader struct {
	lengths, distances int     // symbols of each code
	all                []uint8 // lengths of the words of both codes
	runs               []run
	counts             [runSymbols]uint32
	code               code
	used               int // number of symbols of code that are written, in runOrder
}

// A run is one length, or a repeated one: a symbol with extra bits after it.
type run struct {
	symbol uint8
	extra  uint8 // number of extra bits
	value  uint8 // of the extra bits
}

const (
	repeatLength = 16 // 3 to 6 times
	fewZeros     = 17 // 3 to 10
	manyZeros    = 18 // 11 to 138
	runSymbols   = 19

	maxRunWord = 7 // bits
)

// runOrder is the order in which the lengths of the third code are written.
var runOrder = [runSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func newBlockHeader() blockHeader { return blockHeader{code: newCode(runSymbols)} }

// make chooses the header for two codes.
func (h *blockHeader) make(b *builder, lengths, distances code) {
	h.lengths, h.distances = lengths.used(), distances.used()
	h.all = append(h.all[:0], lengths.lengths[:h.lengths]...)
	h.all = append(h.all, distances.lengths[:h.distances]...)
	h.setRuns(h.all)
	b.build(h.code, h.counts[:], maxRunWord)
	h.used = runSymbols
	for h.code.lengths[runOrder[h.used-1]] == 0 {
		h.used--
	}
}

// setRuns turns lengths into runs, the longest first, and counts their symbols.
func (h *blockHeader) setRuns(lengths []uint8) {
	h.runs = h.runs[:0]
	clear(h.counts[:])
	for len(lengths) > 0 {
		length, n := lengths[0], 1
		for n < len(lengths) && lengths[n] == length {
			n++
		}
		lengths = lengths[n:]
		if length == 0 {
			n = h.repeat(n, manyZeros, 11, 138, 7)
			n = h.repeat(n, fewZeros, 3, 10, 3)
		} else {
			h.add(run{symbol: length})
			n = h.repeat(n-1, repeatLength, 3, 6, 2)
		}
		for range n {
			h.add(run{symbol: length})
		}
	}
}

// repeat adds runs of low to high lengths each while n allows, and returns how many
// lengths are left.
func (h *blockHeader) repeat(n int, symbol uint8, low, high int, extra uint8) int {
	for n >= low {
		m := min(n, high)
		h.add(run{symbol, extra, uint8(m - low)})
		n -= m
	}
	return n
}

func (h *blockHeader) add(r run) {
	h.runs = append(h.runs, r)
	h.counts[r.symbol]++
}

// bits returns the size of the header in bits, without the three bits of the block.
func (h *blockHeader) bits() int {
	n := 14 + 3*h.used
	for _, r := range h.runs {
		n += int(h.code.lengths[r.symbol]) + int(r.extra)
	}
	return n
}

func (h *blockHeader) write(w *bitWriter) {
	w.put(uint64(h.lengths-257)|uint64(h.distances-1)<<5|uint64(h.used-4)<<10, 14)
	for _, symbol := range runOrder[:h.used] {
		w.put(uint64(h.code.lengths[symbol]), 3)
	}
	for _, r := range h.runs {
		length := uint(h.code.lengths[r.symbol])
		w.put(uint64(h.code.words[r.symbol])|uint64(r.value)<<length, length+uint(r.extra))
	}
}
