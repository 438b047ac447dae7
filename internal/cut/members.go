package cut

import (
	"crypto/sha256"
	"errors"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// members cuts gzip. It decompresses the blob to find its members, until one is too large
// for a leaf: then the blob is cut like any other file. Most blobs are one member, so this
// is known after a MiB.
type members struct {
	fixed *unixfs.Cutter // the leaves, unless all members can be leaves
	pipe  *io.PipeWriter // nil when it is known that they cannot

	done   chan struct{} // closed when leaves is complete
	leaves *unixfs.Cutter
	err    error // why the blob is not cut at its members, or nil
}

func newMembers(p unixfs.Profile) *members {
	r, w := io.Pipe()
	m := &members{fixed: p.NewCutter(), pipe: w, done: make(chan struct{}), leaves: p.NewCutter()}
	go func() {
		defer close(m.done)
		m.err = m.find(r)
		r.CloseWithError(errDecided)
	}()
	return m
}

var (
	errDecided     = errors.New("it is known how the blob is cut")
	errLargeMember = errors.New("a member that is too large for a leaf")
)

func (m *members) Write(b []byte) (int, error) {
	if m.pipe != nil {
		if _, err := m.pipe.Write(b); err != nil {
			m.pipe = nil
		}
	}
	return m.fixed.Write(b)
}

// find cuts the blob at its members.
func (m *members) find(r io.Reader) error {
	came := &unassigned{r: r}
	z, err := NewGzipReader(came)
	if err != nil {
		return err
	}
	content := make([]byte, 32<<10)
	for at, start := 0, int64(0); ; {
		_, err := z.Read(content)
		for ; at < len(z.ends); at++ {
			n := z.ends[at] - start
			if n > unixfs.MaxLeaf || at == maxMembers {
				return errLargeMember
			}
			leaf := came.buf[:n]
			m.leaves.WriteLeaf(leaf, sha256.Sum256(leaf))
			came.buf = append(came.buf[:0], came.buf[n:]...)
			start = z.ends[at]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (m *members) Table() *unixfs.Table {
	m.end(nil)
	if m.err == nil {
		return m.leaves.Table()
	}
	return m.fixed.Table()
}

// Close ends the goroutine that looks for members.
func (m *members) Close() { m.end(io.ErrClosedPipe) }

func (m *members) end(err error) {
	if m.pipe != nil {
		m.pipe.CloseWithError(err)
		m.pipe = nil
	}
	<-m.done
}

// unassigned keeps what was read, until the caller has found in which member it is.
type unassigned struct {
	r   io.Reader
	buf []byte
}

// maxAhead is how many bytes after the end of a member are read before the end is known:
// a buffer, and the header of the next member.
const maxAhead = 128 << 10

func (u *unassigned) Read(p []byte) (int, error) {
	if len(u.buf) > unixfs.MaxLeaf+maxAhead {
		return 0, errLargeMember
	}
	n, err := u.r.Read(p)
	u.buf = append(u.buf, p[:n]...)
	return n, err
}
