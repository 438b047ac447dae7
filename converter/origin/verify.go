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
	batchSize    = 256 << 10 // bytes of leaves that are verified together; one leaf may be larger
	batchesAhead = 4         // that may wait for the reader
)

// A verifier reads a file in batches of leaves. While one batch is handed to the
// reader, it verifies those that follow.
type verifier struct {
	batches chan *batch // in the order of the file
	closed  chan struct{}
	current *batch // that is handed to the reader
	rest    []byte // of it
	err     error
	closing func() error
}

// A batch is a run of leaves, or the end of the file.
type batch struct {
	data *[]byte
	err  chan error // one value: nil if the data may be read
}

// buffers are those of batches that were read.
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

// run reads all leaves, and makes sure that nothing follows them.
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

// verify checks the batch against the leaves [first, last).
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
	n := copy(p, v.rest)
	v.rest = v.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, which saves a copy.
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
		n, err := w.Write(v.rest)
		total += int64(n)
		if err != nil {
			return total, err
		}
		v.rest = nil
	}
}

// next waits for the next batch if the current one has been read.
func (v *verifier) next() error {
	for len(v.rest) == 0 {
		if v.err != nil {
			return v.err
		}
		if v.current != nil {
			buffers.Put(v.current.data)
		}
		v.current = <-v.batches
		if v.err = <-v.current.err; v.err != nil {
			v.current = nil
			return v.err
		}
		v.rest = *v.current.data
	}
	return nil
}

// Close must be called once, and not during a Read.
func (v *verifier) Close() error { return v.closing() }
