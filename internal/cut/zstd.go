package cut

import (
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
	frame   []byte // the current frame, unless it is a large one
	run     int    // bytes of the run
	isLarge bool   // the current frame is a large one, and the run has ended
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
	z.leaves.Write(z.frame)
	return z.leaves.Table()
}

// add adds bytes of the current frame.
func (z *Zstd) add(p []byte) {
	if !z.isLarge && len(z.frame)+len(p) > largeFrame {
		z.endRun()
		z.isLarge = true
		z.leaves.Write(z.frame)
		z.frame = z.frame[:0]
	}
	if z.isLarge { // its hash decides nothing
		z.leaves.Write(p)
		return
	}
	z.sum = crc32.Update(z.sum, crc32.IEEETable, p)
	z.frame = append(z.frame, p...)
}

func (z *Zstd) endFrame() {
	z.leaves.Write(z.frame)
	z.run += len(z.frame)
	if z.isLarge || mayEnd(z.run, z.sum) {
		z.endRun()
	}
	z.frame, z.sum, z.isLarge = z.frame[:0], 0, false
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

func (z *Zstd) endRun() {
	z.leaves.EndLeaf()
	z.run = 0
}

// Close implements cutter.
func (z *Zstd) Close() {}
