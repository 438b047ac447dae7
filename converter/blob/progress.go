package blob

import "io"

// A Progress is told how far the work is. Its methods are called concurrently.
type Progress interface {
	// Start begins a part of the work: a file of so many bytes, by its name.
	Start(name string, size int64) Part
}

// A Part is a file that is read.
type Part interface {
	Add(n int) // bytes more
	End()      // of the part, whether it was read to its end or not
}

// smallPart is how many bytes are read before anybody could see them pass.
const smallPart = 1 << 20

// Watch returns a reader that tells of what is read, and what to call in the end.
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
