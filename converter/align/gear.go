package align

import (
	"crypto/sha256"
	"encoding/binary"
)

// A gear is a hash of the last 64 bytes, at one shift and one addition a byte,
// by which long content is cut where the content itself says so (Xia et al.,
// "FastCDC", USENIX ATC 2016).
type gear uint64

// Until the target is reached a cut is unlikely, and then likely, so that most
// pieces are near it. The masks take high bits, which depend on most bytes.
const (
	window = 64 // bytes that a gear depends on

	unlikely = (pieceTarget*4 - 1) << 40
	likely   = (pieceTarget/4 - 1) << 40
)

// find looks for the end of a piece that has size bytes before p. It returns
// how many bytes of p the piece ends with, if it ends in p.
func (g *gear) find(p []byte, size int) (n int, found bool) {
	h := uint64(*g)
	p = p[:min(len(p), pieceMax-size)]
	i := min(len(p), max(0, pieceMin-window-size)) // before that, what is hashed makes no difference
	for end := min(len(p), pieceMin-1-size); i < end; i++ {
		h = h<<1 + gears[p[i]]
	}
	for end := min(len(p), pieceTarget-size); i < end; i++ {
		if h = h<<1 + gears[p[i]]; h&unlikely == 0 {
			return i + 1, true
		}
	}
	for ; i < len(p); i++ {
		if h = h<<1 + gears[p[i]]; h&likely == 0 {
			return i + 1, true
		}
	}
	*g = gear(h)
	return i, size+i == pieceMax
}

// gears has a number for each byte, which need only look random.
var gears = func() (t [256]uint64) {
	for i := range t {
		sum := sha256.Sum256([]byte{byte(i)})
		t[i] = binary.BigEndian.Uint64(sum[:])
	}
	return t
}()
