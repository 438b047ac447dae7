package deflate

import "encoding/binary"

// A bitWriter writes bits, the lowest first, into memory that reset made large
// enough for all of them.
type bitWriter struct {
	out     []byte
	n       int    // whole bytes written
	bit     uint64 // bits that do not fill a byte yet; the rest is zero
	pending uint   // number of bits in bit: at most 7
}

// reset begins to write after dst, and makes room for so many bytes.
func (w *bitWriter) reset(dst []byte, room int) {
	n := len(dst)
	if cap(dst)-n < room {
		dst = append(make([]byte, 0, n+room), dst...)
	}
	*w = bitWriter{out: dst[:cap(dst)], n: n}
}

// put writes the n lowest bits of v, at most 57. The bits of v above these must be
// zero. put stores eight bytes at a time, so there must be room for that.
func (w *bitWriter) put(v uint64, n uint) {
	w.bit |= v << w.pending
	w.pending += n
	binary.LittleEndian.PutUint64(w.out[w.n:], w.bit)
	w.n += int(w.pending / 8)
	w.bit >>= w.pending &^ 7
	w.pending &= 7
}

// align fills the last byte with zero bits.
func (w *bitWriter) align() {
	if w.pending > 0 {
		w.put(0, 8-w.pending)
	}
}

// write writes whole bytes. The writer must be aligned.
func (w *bitWriter) write(b []byte) { w.n += copy(w.out[w.n:], b) }

// bytes returns everything that was written, with the last byte filled up.
func (w *bitWriter) bytes() []byte {
	w.align()
	return w.out[:w.n]
}
