package deflate

import "encoding/binary"

// A bitWriter writes bits, the lowest first, into memory that was made large
// enough for all of them.
type bitWriter struct {
	out []byte
	n   int    // whole bytes written
	bit uint64 // bits that are no whole byte yet, and zeros
	has uint   // number of these, at most 7
}

// reset begins after dst, with room for so many bytes.
func (w *bitWriter) reset(dst []byte, room int) {
	n := len(dst)
	if cap(dst)-n < room {
		dst = append(make([]byte, 0, n+room), dst...)
	}
	*w = bitWriter{out: dst[:cap(dst)], n: n}
}

// put writes the n lowest bits of v, which has no others. n is at most 57.
func (w *bitWriter) put(v uint64, n uint) {
	w.bit |= v << w.has
	w.has += n
	binary.LittleEndian.PutUint64(w.out[w.n:], w.bit)
	w.n += int(w.has / 8)
	w.bit >>= w.has &^ 7
	w.has &= 7
}

// align fills up the last byte.
func (w *bitWriter) align() {
	if w.has > 0 {
		w.put(0, 8-w.has)
	}
}

// write writes whole bytes after align.
func (w *bitWriter) write(b []byte) { w.n += copy(w.out[w.n:], b) }

// bytes returns what was written.
func (w *bitWriter) bytes() []byte {
	w.align()
	return w.out[:w.n]
}
