package deflate

// A blockHeader tells a decoder the codes of a block: the lengths of their words,
// as runs, which have a code of their own. RFC 1951, 3.2.7.
type blockHeader struct {
	lengths, distances int     // symbols of each code
	all                []uint8 // lengths of the words of both
	runs               []run
	counts             [runSymbols]uint32
	code               code
	used               int // symbols of code, in runOrder
}

// A run is lengths, or one, as a symbol with bits after it.
type run struct {
	symbol uint8
	extra  uint8 // number of bits
	value  uint8
}

const (
	repeatLength = 16 // 3 to 6 times
	fewZeros     = 17 // 3 to 10
	manyZeros    = 18 // 11 to 138
	runSymbols   = 19

	maxRunWord = 7 // bits
)

// runOrder begins with those symbols that every block uses.
var runOrder = [runSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func newBlockHeader() blockHeader { return blockHeader{code: newCode(runSymbols)} }

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

// repeat adds runs of n in all, each of at least low and at most high, and
// returns what is left.
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
