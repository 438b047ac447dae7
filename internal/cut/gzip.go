package cut

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// maxMembers bounds the memory for the ends of members. A blob with more members is cut
// like any other file.
const maxMembers = 1 << 18

const gzipMagic = "\x1f\x8b"

// ErrTrailing says that other bytes follow after the end of the compressed data.
var ErrTrailing = errors.New("other bytes follow after its end")

// A GzipReader decompresses a gzip file and notes where its members end. Leaves end
// there. So an aligned layer that was pulled and saved again has the same leaves as
// before, and the leaves of an eStargz layer are its files.
type GzipReader struct {
	r       *bufio.Reader
	read    *countingReader // below r
	z       *gzip.Reader
	content int64 // decompressed bytes so far
	ends    []int64
	err     error // at the end of the last member
}

// NewGzipReader reads the first header of a gzip file.
func NewGzipReader(r io.Reader) (*GzipReader, error) {
	g := &GzipReader{read: &countingReader{r: r}}
	g.r = bufio.NewReader(g.read)
	z, err := gzip.NewReader(g.r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	g.z = z
	return g, nil
}

// Read returns uncompressed bytes. The error is ErrTrailing if anything but another
// member follows after a member.
func (g *GzipReader) Read(p []byte) (int, error) {
	if g.err != nil { // a buffered reader may read again
		return 0, g.err
	}
	n, err := g.z.Read(p)
	g.content += int64(n)
	if err != io.EOF {
		return n, err
	}
	if len(g.ends) <= maxMembers {
		g.ends = append(g.ends, g.offset())
	}
	next, err := g.r.Peek(len(gzipMagic))
	switch {
	case len(next) == 0:
		g.err = err
		return n, g.err
	case string(next) != gzipMagic:
		g.err = fmt.Errorf("gzip: %w", ErrTrailing)
		return n, g.err
	}
	err = g.z.Reset(g.r)
	g.z.Multistream(false)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// offset returns how many bytes of the file are decompressed.
func (g *GzipReader) offset() int64 { return g.read.n - int64(g.r.Buffered()) }

// Ends returns the offsets at which leaves end, after the file was read to its end
// without an error: those of the members, if each member can be a leaf, or else nil.
func (g *GzipReader) Ends() []int64 {
	start := int64(0)
	for _, end := range g.ends {
		if end-start > unixfs.MaxLeaf {
			return nil
		}
		start = end
	}
	if len(g.ends) > maxMembers {
		return nil
	}
	return g.ends
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
