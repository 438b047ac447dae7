package align

import (
	"crypto/sha256"
	"encoding/binary"
)

// A gear is a hash of the last 64 bytes that costs one shift and one addition a byte. Long
// content is cut where the hash of its own bytes has a certain form (Xia et al.,
// "FastCDC", USENIX ATC 2016).
type gear uint64

// Sizes of pieces of large files, in bytes. The largest fits into an IPFS block of 1 MiB,
// even if it cannot be compressed.
const (
	pieceMin    = 256 << 10
	pieceTarget = 512 << 10
	pieceMax    = 1000 << 10
)

// A cut is unlikely before the target size and likely after it, so most pieces are near
// it. The masks use high bits, which depend on the most bytes.
const (
	window = 64 // bytes that a gear depends on

	unlikely = (pieceTarget*4 - 1) << 40
	likely   = (pieceTarget/4 - 1) << 40
)

// find looks for the end of a piece that has size bytes before p. If the piece ends in p,
// it returns how many bytes of p belong to it.
func (g *gear) find(p []byte, size int) (n int, found bool) {
	h := uint64(*g)
	p = p[:min(len(p), pieceMax-size)]
	i := min(len(p), max(0, pieceMin-window-size)) // earlier bytes make no difference to the hash
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

// gears has a number for each value of a byte. The numbers need only look random.
var gears = func() (t [256]uint64) {
	for i := range t {
		sum := sha256.Sum256([]byte{byte(i)})
		t[i] = binary.BigEndian.Uint64(sum[:])
	}
	return t
}()
