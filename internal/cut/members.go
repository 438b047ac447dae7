package cut

import (
	"errors"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// members cuts gzip. It decompresses the blob to find its members. If a member is too large
// for a leaf, or the blob decompresses to too much, it cuts the blob like any other file. Most
// blobs are one member, so it knows this after a MiB.
type members struct {
	fixed *unixfs.Cutter // the leaves, unless the blob is cut at its members
	pipe  *io.PipeWriter // nil once the blob is known not to be cut at its members

	done   chan struct{} // closed when leaves is complete
	leaves *unixfs.Cutter
	err    error // why the blob is not cut at its members, or nil
}

func newMembers(p unixfs.Profile) *members {
	r, w := io.Pipe()
	m := &members{fixed: p.NewCutter(), pipe: w, done: make(chan struct{}), leaves: p.NewCutter()}
	go func() {
		defer close(m.done)
		m.err = findMembers(r, m.leaves)
		r.CloseWithError(errDecided)
	}()
	return m
}

var (
	errDecided     = errors.New("already known how the blob is cut")
	errLargeMember = errors.New("a member that is too large for a leaf")
	errManyMembers = errors.New("too many members")
	errDense       = errors.New("the blob decompresses to too much")
)

func (m *members) Write(b []byte) (int, error) {
	if m.pipe != nil {
		if _, err := m.pipe.Write(b); err != nil {
			m.pipe = nil
		}
	}
	return m.fixed.Write(b)
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

// One byte of deflate can decompress to a thousand. To bound the work for a blob by its
// length, a cutter decompresses a blob up to mostContent, and cuts a denser blob like any
// other file. Only a layer that is little else than hundreds of MiB of zeros, or of another
// pattern that repeats, is that dense.
const (
	freeContent = 256 << 20
	mostRatio   = 64
)

// mostContent returns how many bytes the first n bytes of a blob may decompress to.
func mostContent(n int64) int64 { return freeContent + mostRatio*n }

// findMembers makes a leaf of each member of a blob. The error says why the blob is not cut
// at its members.
func findMembers(r io.Reader, leaves *unixfs.Cutter) error {
	f := &memberFinder{r: r, leaves: leaves}
	z, err := NewGzipReader(f)
	if err != nil {
		return err
	}
	f.z = z
	content := make([]byte, 32<<10)
	for {
		_, err := z.Read(content)
		switch assigned := f.assign(); {
		case assigned != nil:
			return assigned
		case z.content > mostContent(z.offset()):
			return errDense
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// A memberFinder passes a blob on to a GzipReader, and makes leaves of the bytes that the
// reader has decompressed. It keeps the other bytes, which are about as many as the reader has
// in its buffer, until their member is known.
type memberFinder struct {
	r      io.Reader
	z      *GzipReader // nil while it reads the first header
	leaves *unixfs.Cutter

	start   int64  // where the current member begins
	members int    // how many members have ended
	unused  []byte // bytes that are not decompressed yet
	used    int64  // how many bytes came before them
}

func (f *memberFinder) Read(p []byte) (int, error) {
	if err := f.assign(); err != nil {
		return 0, err
	}
	n, err := f.r.Read(p)
	f.unused = append(f.unused, p[:n]...)
	return n, err
}

// assign gives the bytes that were decompressed to their members.
func (f *memberFinder) assign() error {
	if f.z == nil {
		return nil
	}
	for _, end := range f.z.ends[f.members:] {
		if f.members == maxMembers {
			return errManyMembers
		}
		if err := f.use(end); err != nil {
			return err
		}
		f.leaves.EndLeaf()
		f.members++
		f.start = end
	}
	return f.use(f.z.offset())
}

// use gives the bytes before an offset to the current member.
func (f *memberFinder) use(offset int64) error {
	if offset-f.start > unixfs.MaxLeaf {
		return errLargeMember
	}
	n := offset - f.used
	f.leaves.Write(f.unused[:n])
	f.unused = append(f.unused[:0], f.unused[n:]...)
	f.used = offset
	return nil
}
