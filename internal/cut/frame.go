package cut

import (
	"bytes"
	"encoding/binary"
	"math"
)

// A frameFinder finds where the frames of zstd end, skippable frames included. It reads
// headers and skips the rest, so it takes little time and no memory, whatever the bytes.
//
// Every sequence of bytes is a sequence of frames: where no frame begins, and where one
// contradicts the specification, the frame goes on to the end of the blob.
// https://www.rfc-editor.org/rfc/rfc8878#section-3.1
type frameFinder struct {
	at    frameField
	field []byte // what has come of the current field
	skip  int64  // bytes until the next field

	hasChecksum bool
}

// A frameField is a field of a frame that says what follows.
type frameField int

const (
	magicNumber frameField = iota
	skippableSize
	frameDescriptor
	blockHeader
	endOfFrame // not a field
)

func (f frameField) len() int { return [...]int{4, 4, 1, 3, 0}[f] }

// maxBlock is the most bytes of a block, and the most that it stands for.
const maxBlock = 128 << 10

// next returns how many of the first bytes of p belong to the current frame, and whether
// the frame ends with them.
func (f *frameFinder) next(p []byte) (n int, end bool) {
	for {
		skipped := int(min(f.skip, int64(len(p)-n)))
		n += skipped
		if f.skip -= int64(skipped); f.skip > 0 {
			return n, false
		}
		if f.at == endOfFrame {
			f.at = magicNumber
			return n, true
		}
		more := min(f.at.len()-len(f.field), len(p)-n)
		f.field = append(f.field, p[n:n+more]...)
		if n += more; len(f.field) < f.at.len() {
			return n, false
		}
		f.parse()
		f.field = f.field[:0]
	}
}

// parse takes a whole field.
func (f *frameFinder) parse() {
	switch f.at {
	case magicNumber:
		f.parseMagic()
	case skippableSize:
		f.at, f.skip = endOfFrame, int64(binary.LittleEndian.Uint32(f.field))
	case frameDescriptor:
		f.parseDescriptor(f.field[0])
	case blockHeader:
		f.parseBlock(uint32(f.field[0]) | uint32(f.field[1])<<8 | uint32(f.field[2])<<16)
	}
}

func (f *frameFinder) parseMagic() {
	switch {
	case bytes.Equal(f.field, zstdMagic):
		f.at = frameDescriptor
	case isSkippable(f.field):
		f.at = skippableSize
	default:
		f.giveUp()
	}
}

// parseDescriptor skips the other fields of a frame's header: window, dictionary and
// size of the content.
func (f *frameFinder) parseDescriptor(d byte) {
	if d&0x08 != 0 { // reserved
		f.giveUp()
		return
	}
	isSingleSegment := d&0x20 != 0
	f.hasChecksum = d&0x04 != 0
	f.at = blockHeader
	f.skip = [...]int64{0, 1, 2, 4}[d&3] + [...]int64{0, 2, 4, 8}[d>>6]
	if !isSingleSegment || d>>6 == 0 {
		f.skip++ // the window, or a size of one byte
	}
}

func (f *frameFinder) parseBlock(h uint32) {
	isLast, typ, size := h&1 != 0, h>>1&3, h>>3
	const (
		runLength = 1 // one byte that stands for size bytes
		reserved  = 3
	)
	if typ == reserved || size > maxBlock {
		f.giveUp()
		return
	}
	f.skip = int64(size)
	if typ == runLength {
		f.skip = 1
	}
	if !isLast {
		return
	}
	f.at = endOfFrame
	if f.hasChecksum {
		f.skip += 4
	}
}

// giveUp makes the current frame go on to the end of the blob.
func (f *frameFinder) giveUp() { f.at, f.skip = endOfFrame, math.MaxInt64 }

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// isSkippable reports whether a skippable frame begins so.
func isSkippable(b []byte) bool {
	return len(b) >= 4 && b[0]&0xf0 == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18
}
