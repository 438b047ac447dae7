package origin

import (
	"fmt"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// leavesAhead is how many verified leaves wait to be read, at most.
const leavesAhead = 4

// A verifier reads a file leaf by leaf, and verifies one while those before it
// are read.
type verifier struct {
	leaves  chan verifiedLeaf
	free    chan []byte
	closed  chan struct{}
	at      []byte // what is left of the leaf under way
	buf     []byte // of that leaf
	err     error
	closing func() error
}

type verifiedLeaf struct {
	data []byte
	err  error
}

// verify returns a reader of a file's verified bytes, given its content.
func verify(content io.ReadCloser, f *unixfs.File, from string) io.ReadCloser {
	v := &verifier{
		leaves: make(chan verifiedLeaf, leavesAhead),
		free:   make(chan []byte, leavesAhead+2),
		closed: make(chan struct{}),
	}
	for range cap(v.free) {
		v.free <- nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := v.run(content, f, from)
		v.send(verifiedLeaf{err: err})
	}()
	v.closing = func() error {
		close(v.closed)
		err := content.Close() // which ends a read under way
		<-ended
		return err
	}
	return v
}

// run reads all leaves, and then the end, beyond which there must be nothing.
func (v *verifier) run(content io.Reader, f *unixfs.File, from string) error {
	for i := range f.Table.Leaves {
		var buf []byte
		select {
		case buf = <-v.free:
		case <-v.closed:
			return io.ErrClosedPipe
		}
		n := f.Table.Len(i)
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		leaf := buf[:n]
		if _, err := io.ReadFull(content, leaf); err != nil {
			return fmt.Errorf("reading file %s from %s, at byte %d: %w", f.CID, from, f.Table.Start(i), unexpected(err))
		}
		if !f.Table.Verify(i, leaf) {
			return fmt.Errorf("leaf %s of file %s from %s, at byte %d: %w", f.Table.CID(i), f.CID, from, f.Table.Start(i), ErrCorrupt)
		}
		if !v.send(verifiedLeaf{data: leaf}) {
			return io.ErrClosedPipe
		}
	}
	if n, _ := content.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("file %s from %s is longer than its CID says: %w", f.CID, from, ErrCorrupt)
	}
	return io.EOF
}

func (v *verifier) send(l verifiedLeaf) bool {
	select {
	case v.leaves <- l:
		return true
	case <-v.closed:
		return false
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.next(); err != nil {
		return 0, err
	}
	n := copy(p, v.at)
	v.at = v.at[n:]
	return n, nil
}

// WriteTo saves copying what is verified once more.
func (v *verifier) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		err := v.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(v.at)
		total += int64(n)
		if err != nil {
			return total, err
		}
		v.at = nil
	}
}

// next makes sure that there is something to read.
func (v *verifier) next() error {
	for len(v.at) == 0 {
		if v.err != nil {
			return v.err
		}
		if v.buf != nil {
			v.free <- v.buf
			v.buf = nil
		}
		leaf := <-v.leaves
		v.at, v.err = leaf.data, leaf.err
		v.buf = leaf.data
	}
	return nil
}

// Close must be called once, and not while something is read.
func (v *verifier) Close() error { return v.closing() }
