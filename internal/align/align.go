// Package align cuts the tar of a layer into pieces such that equal files give equal
// pieces, in whatever layer, image or version they are. Each piece is compressed on its
// own and becomes a leaf on IPFS, so a new version of an image shares with the old one
// all that did not change.
//
// The place of a cut depends only on the entries near it, so an insertion moves the cuts
// near it and no others.
//
//   - Small entries, whole, make up groups of about 128 KiB. A hash of an entry's name
//     decides whether a group may end before it, because names stay when times and
//     contents change.
//   - The content of a large file begins a piece, and its last piece ends with its
//     padding, so neither the entry before nor the one after matters. Its header belongs
//     to the piece before. Content that is longer than a piece is cut at places that a
//     hash of its own bytes decides.
//   - A file that is not a tar is cut in that way as well.
//
// Smaller pieces share more, but compress worse, and are more blocks to store, find and
// verify. docs/performance.md has the figures.
//
// The pieces together are always the bytes that were written: a damaged or hostile tar
// is only cut badly. The places of the cuts are part of format 1.
package align

// A file of more than largeFile bytes has pieces of its own. With half of that, a layer
// whose times all changed would cost a third less, and every layer would have half as
// many blocks again.
const largeFile = 64 << 10

// Sizes of groups of small entries, in bytes. No group ends before groupMin, unless a
// large file follows. Most end near groupTarget, and each ends at the first entry after
// groupMax.
const (
	groupMin    = 64 << 10
	groupTarget = 128 << 10
	groupMax    = 256 << 10
)

// maxExtension is the most bytes of extension headers (long names, pax records) that are
// kept together with their entry.
const maxExtension = 64 << 10

// MaxPiece is the most bytes of a piece: those of a group that is almost full, extension
// headers and one more small entry, or of a piece of a large file.
const MaxPiece = pieceMax

// A Cutter cuts the bytes that are written to it into pieces.
type Cutter struct {
	emit func(piece []byte) ([]byte, error)
	buf  []byte // the current piece

	block     []byte // the current header block
	extension []byte // headers before that of an entry, and their content
	left      int64  // bytes of content and padding until the next header
	state     state
	gear      gear
}

// state says what the bytes before the next header belong to.
type state int

const (
	small     state = iota // of an entry that belongs to a group
	extending              // of an extension header
	large                  // of a large file
)

// NewCutter returns a cutter that calls emit with each piece, of at most MaxPiece bytes.
// It puts the next piece into the memory that emit returns. An error of emit ends the
// cutting.
func NewCutter(emit func(piece []byte) (memory []byte, err error)) *Cutter {
	return &Cutter{
		emit:  emit,
		buf:   make([]byte, 0, MaxPiece),
		block: make([]byte, 0, BlockSize),
	}
}

// Write adds the next bytes of the layer.
func (c *Cutter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		used, err := c.take(p)
		if err != nil {
			return 0, err
		}
		p = p[used:]
	}
	return n, nil
}

// Close ends the last piece.
func (c *Cutter) Close() error {
	if err := c.opaque(c.block); err != nil {
		return err
	}
	c.block = nil
	return c.cut()
}

// take uses the beginning of p and returns how many bytes it used.
func (c *Cutter) take(p []byte) (int, error) {
	if c.left == 0 {
		return c.takeHeader(p)
	}
	p = p[:min(int64(len(p)), c.left)]
	n, err := len(p), error(nil)
	switch c.state {
	case small:
		c.buf = append(c.buf, p...)
	case extending:
		c.extension = append(c.extension, p...)
	case large:
		n, err = c.chunk(p)
	}
	c.left -= int64(n)
	if err == nil && c.left == 0 && c.state == large {
		err = c.cut()
	}
	return n, err
}

func (c *Cutter) takeHeader(p []byte) (int, error) {
	p = p[:min(len(p), BlockSize-len(c.block))]
	c.block = append(c.block, p...)
	if len(c.block) < BlockSize {
		return len(p), nil
	}
	err := c.begin(c.block)
	c.block = c.block[:0]
	return len(p), err
}

// begin takes a block at a place where a header belongs.
func (c *Cutter) begin(block []byte) error {
	h, ok := parseHeader(block)
	if !ok {
		return c.opaque(block)
	}
	c.left = h.padded()
	if h.extends && int64(len(c.extension))+BlockSize+c.left <= maxExtension {
		c.extension = append(c.extension, block...)
		c.state = extending
		return nil
	}
	if c.mayEnd(h) {
		if err := c.cut(); err != nil {
			return err
		}
	}
	c.buf = append(c.buf, c.extension...)
	c.buf = append(c.buf, block...)
	c.extension = c.extension[:0]
	c.state = small
	if h.size <= largeFile {
		return nil
	}
	c.state = large
	return c.cut()
}

// mayEnd reports whether the current group ends before the entry.
func (c *Cutter) mayEnd(h header) bool {
	switch n := len(c.buf); {
	case n < groupMin:
		return false
	case n < groupTarget:
		return h.nameHash%8 == 0
	case n < groupMax:
		return h.nameHash%4 == 0
	}
	return true
}

// opaque takes a block that is not a header: the end of an archive, or anything else.
func (c *Cutter) opaque(block []byte) error {
	for _, part := range [][]byte{c.extension, block} {
		for len(part) > 0 {
			n, err := c.chunk(part)
			if err != nil {
				return err
			}
			part = part[n:]
		}
	}
	c.extension = c.extension[:0]
	return nil
}

// chunk takes as much of p as belongs to the current piece. It ends the piece where the
// rest of p belongs to the next one.
func (c *Cutter) chunk(p []byte) (int, error) {
	if n, found := c.gear.find(p, len(c.buf)); found {
		c.buf = append(c.buf, p[:n]...)
		return n, c.cut()
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}

func (c *Cutter) cut() error {
	c.gear = 0
	if len(c.buf) == 0 {
		return nil
	}
	memory, err := c.emit(c.buf)
	c.buf = memory[:0]
	return err
}
