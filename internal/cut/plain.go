package cut

import (
	"crypto/sha256"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/align"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// pieces cuts a tar into the pieces of package align, each of which is a leaf.
type pieces struct {
	leaves *unixfs.Cutter
	align  *align.Cutter
}

func newPieces(p unixfs.Profile) pieces {
	leaves := p.NewCutter()
	return pieces{leaves, align.NewCutter(func(piece []byte) ([]byte, error) {
		leaves.WriteLeaf(piece, sha256.Sum256(piece))
		return piece, nil
	})}
}

func (p pieces) Write(b []byte) (int, error) { return p.align.Write(b) }

// Table implements cutter.
func (p pieces) Table() *unixfs.Table {
	p.align.Close() // it never fails, as writing a leaf does not
	return p.leaves.Table()
}

// Close implements cutter.
func (pieces) Close() {}

// MaxFixed is the most bytes of a file that is cut into leaves of a fixed length though it
// is neither a tar nor compressed with gzip or zstd. A longer one is cut like a tar.
const MaxFixed = 64 << 20

// other cuts any other file. Its length decides how, which is known last.
type other struct {
	fixed  *unixfs.Cutter // nil when the file is too long
	pieces pieces
	length int64
}

func newOther(p unixfs.Profile) *other { return &other{fixed: p.NewCutter(), pieces: newPieces(p)} }

func (o *other) Write(b []byte) (int, error) {
	if o.length += int64(len(b)); o.length > MaxFixed {
		o.fixed = nil
	}
	if o.fixed != nil {
		o.fixed.Write(b)
	}
	return o.pieces.Write(b)
}

// Table implements cutter.
func (o *other) Table() *unixfs.Table {
	if o.fixed != nil {
		return o.fixed.Table()
	}
	return o.pieces.Table()
}

// Close implements cutter.
func (*other) Close() {}
