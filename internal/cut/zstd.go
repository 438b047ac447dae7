package cut

import (
	"crypto/sha256"
	"hash/crc32"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Sizes of runs of frames, in bytes. No run ends before runMin, unless a large frame
// follows. Most end near runTarget, and each ends with the first frame that takes it to
// runMax.
const (
	runMin    = 64 << 10
	runTarget = 128 << 10
	runMax    = 256 << 10
)

// A frame of more than largeFrame bytes has leaves of its own.
const largeFrame = 64 << 10

// A Zstd cuts a blob that is compressed with zstd into leaves, each a run of whole
// frames. A hash of a frame decides whether a run may end with it, so a change moves the
// ends near it and no others. A frame that is too large for one leaf has a leaf for each
// MiB, so a blob of one frame is cut as any other file is.
//
// zstd:chunked has a frame for each file at least, pzstd and seekable formats have frames
// of some MiB, and what other programs write is one frame.
type Zstd struct {
	leaves  *unixfs.Cutter
	frames  frameFinder
	sum     uint32 // the CRC-32 of the current frame so far
	buf     []byte // the run, and then the current frame
	run     int    // length of the run
	isLarge bool   // the current frame is a large one, and the run is empty
}

// NewZstd returns a cutter for the leaves of a profile.
func NewZstd(p unixfs.Profile) *Zstd { return &Zstd{leaves: p.NewCutter()} }

// Write adds the next bytes of the blob. It never fails.
func (z *Zstd) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n, end := z.frames.next(p)
		z.add(p[:n])
		if end {
			z.endFrame()
		}
		p = p[n:]
	}
	return written, nil
}

// Table returns the leaves of the blob. The cutter must not be used afterwards.
func (z *Zstd) Table() *unixfs.Table {
	z.cut(len(z.buf))
	return z.leaves.Table()
}

// add adds bytes of the current frame.
func (z *Zstd) add(p []byte) {
	z.sum = crc32.Update(z.sum, crc32.IEEETable, p)
	for len(p) > 0 {
		most := unixfs.MaxLeaf
		if !z.isLarge {
			most = z.run + largeFrame + 1
		}
		n := min(len(p), most-len(z.buf))
		z.buf = append(z.buf, p[:n]...)
		p = p[n:]
		switch {
		case len(z.buf) < most:
		case z.isLarge:
			z.cut(unixfs.MaxLeaf)
		default:
			z.cut(z.run)
			z.isLarge = true
		}
	}
}

func (z *Zstd) endFrame() {
	z.run = len(z.buf)
	if z.isLarge || mayEnd(z.run, z.sum) {
		z.cut(z.run)
	}
	z.sum, z.isLarge = 0, false
}

// mayEnd reports whether a run of n bytes ends with a frame, given the frame's CRC-32.
func mayEnd(n int, sum uint32) bool {
	switch {
	case n < runMin:
		return false
	case n < runTarget:
		return sum%8 == 0
	case n < runMax:
		return sum%4 == 0
	}
	return true
}

// cut makes a leaf of the first n bytes, which end the run.
func (z *Zstd) cut(n int) {
	if n > 0 {
		z.leaves.WriteLeaf(z.buf[:n], sha256.Sum256(z.buf[:n]))
		z.buf = append(z.buf[:0], z.buf[n:]...)
	}
	z.run = 0
}

// Close implements cutter.
func (z *Zstd) Close() {}
