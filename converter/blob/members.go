package blob

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// maxMembers bounds the memory for the cuts of a layer. A layer with more members is cut
// like any other file.
const maxMembers = 1 << 18

// memberReader decompresses a gzip file and notes where its members end. A layer that
// comes compressed is cut there. So an aligned layer that was pulled and saved again has
// the same leaves as before, and the leaves of an eStargz layer are its files.
type memberReader struct {
	r    *bufio.Reader
	read *countingReader // below r
	z    *gzip.Reader
	ends []int64
	err  error // at the end of the last member
}

func newMemberReader(r io.Reader) (*memberReader, error) {
	m := &memberReader{read: &countingReader{r: r}}
	m.r = bufio.NewReader(m.read)
	z, err := gzip.NewReader(m.r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	m.z = z
	return m, nil
}

func (m *memberReader) Read(p []byte) (int, error) {
	if m.err != nil { // a buffered reader may read again
		return 0, m.err
	}
	n, err := m.z.Read(p)
	if err != io.EOF {
		return n, err
	}
	if len(m.ends) <= maxMembers {
		m.ends = append(m.ends, m.read.n-int64(m.r.Buffered()))
	}
	next, err := m.r.Peek(len(gzipMagic))
	switch {
	case len(next) == 0:
		m.err = err
		return n, m.err
	case string(next) != gzipMagic:
		m.err = fmt.Errorf("gzip: %w", ErrTrailing)
		return n, m.err
	}
	err = m.z.Reset(m.r)
	m.z.Multistream(false)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// cuts returns the offsets at which members end, if each member can be a leaf.
func (m *memberReader) cuts() []int64 {
	start := int64(0)
	for _, end := range m.ends {
		if end-start > unixfs.MaxLeaf {
			return nil
		}
		start = end
	}
	if len(m.ends) > maxMembers {
		return nil
	}
	return m.ends
}

// Close implements Decompressor.
func (m *memberReader) Close() {}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
