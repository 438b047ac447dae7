package origin

import (
	"fmt"
	"io"
	"sync"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// ErrCorrupt is the error for bytes that do not match their CID.
var ErrCorrupt = unixfs.ErrMismatch

const (
	batchSize    = 256 << 10 // bytes of leaves that are read at once, if one is not larger
	batchesAhead = 4         // that wait to be read, at most
)

// A verifier reads a file in batches of leaves, and verifies several while those
// before them are read.
type verifier struct {
	batches chan *batch // in the order of the file
	closed  chan struct{}
	under   *batch // way
	at      []byte // what is left of it
	err     error
	closing func() error
}

// A batch is consecutive leaves, or the end of them.
type batch struct {
	data *[]byte
	err  chan error // tells, once, whether the data may be read
}

// buffers are of batches that were read.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func newBatch(n int64) *batch {
	b := &batch{buffers.Get().(*[]byte), make(chan error, 1)}
	if int64(cap(*b.data)) < n {
		*b.data = make([]byte, max(n, batchSize))
	}
	*b.data = (*b.data)[:n]
	return b
}

// verify returns a reader of a file's verified bytes, given its content.
func verify(content io.ReadCloser, f *unixfs.File, from string) io.ReadCloser {
	v := &verifier{batches: make(chan *batch, batchesAhead), closed: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		end := &batch{err: make(chan error, 1)}
		end.err <- v.run(content, f, from)
		v.send(end)
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
	for first, last := 0, 0; first < len(f.Table.Leaves); first = last {
		start := f.Table.Start(first)
		for last++; last < len(f.Table.Leaves) && f.Table.Leaves[last].End <= start+batchSize; {
			last++
		}
		b := newBatch(f.Table.Start(last) - start)
		if n, err := io.ReadFull(content, *b.data); err != nil {
			return fmt.Errorf("reading file %s from %s, at byte %d: %w", f.CID, from, start+int64(n), unexpected(err))
		}
		go func() { b.err <- b.verify(f, first, last, from) }()
		if !v.send(b) {
			return io.ErrClosedPipe
		}
	}
	if n, _ := content.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("file %s from %s is longer than its CID says: %w", f.CID, from, ErrCorrupt)
	}
	return io.EOF
}

// verify holds the batch against the leaves [first, last).
func (b *batch) verify(f *unixfs.File, first, last int, from string) error {
	data := *b.data
	for i := first; i < last; i++ {
		leaf := data[:f.Table.Len(i)]
		if !f.Table.Verify(i, leaf) {
			return fmt.Errorf("leaf %s of file %s from %s, at byte %d: %w", f.Table.CID(i), f.CID, from, f.Table.Start(i), ErrCorrupt)
		}
		data = data[len(leaf):]
	}
	return nil
}

func (v *verifier) send(b *batch) bool {
	select {
	case v.batches <- b:
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
		if v.under != nil {
			buffers.Put(v.under.data)
		}
		v.under = <-v.batches
		if v.err = <-v.under.err; v.err != nil {
			v.under = nil
			return v.err
		}
		v.at = *v.under.data
	}
	return nil
}

// Close must be called once, and not while something is read.
func (v *verifier) Close() error { return v.closing() }
