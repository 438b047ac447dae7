package blob

import "io"

// A Progress shows how far files have been read. Its methods are called concurrently.
type Progress interface {
	// Start begins a file of the given size in bytes.
	Start(name string, size int64) Part
}

// A Part is a file that is being read.
type Part interface {
	Add(n int) // n more bytes were read
	End()      // the file was read to its end, or given up
}

// smallPart is the size in bytes below which a file is read too fast to be shown.
const smallPart = 1 << 20

// Watch returns a reader of r that reports to p, which may be nil, and a function that
// must be called in the end.
func Watch(p Progress, name string, size int64, r io.Reader) (watched io.Reader, end func()) {
	if p == nil || size < smallPart {
		return r, func() {}
	}
	part := p.Start(name, size)
	return &watchedReader{r, part}, part.End
}

type watchedReader struct {
	io.Reader
	part Part
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.part.Add(n)
	return n, err
}
