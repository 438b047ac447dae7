package source

import (
	"context"
	"io"
)

const (
	readAheadBuffers = 4
	readAheadSize    = 256 << 10 // bytes a buffer
)

// A readAhead reads from a pipe while earlier bytes are still being compressed. A Read
// ends at once when the context is done, even if the pipe blocks.
type readAhead struct {
	ctx  context.Context
	full chan chunk
	free chan []byte
	at   chunk
	buf  []byte // of at
}

type chunk struct {
	data []byte
	err  error
}

// newReadAhead starts to read r, until r ends or fails, or until ctx is done and the
// current read returns.
func newReadAhead(ctx context.Context, r io.Reader) *readAhead {
	a := &readAhead{ctx: ctx, full: make(chan chunk, readAheadBuffers), free: make(chan []byte, readAheadBuffers)}
	for range readAheadBuffers {
		a.free <- make([]byte, readAheadSize)
	}
	go a.run(r)
	return a
}

func (a *readAhead) run(r io.Reader) {
	for {
		select {
		case <-a.ctx.Done():
			return
		case buf := <-a.free:
			n, err := r.Read(buf)
			a.full <- chunk{buf[:n], err} // as many places as buffers
			if err != nil {
				return
			}
		}
	}
}

func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.at.data) == 0 {
		if a.at.err != nil {
			return 0, a.at.err
		}
		if err := a.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.at.data)
	a.at.data = a.at.data[n:]
	return n, nil
}

func (a *readAhead) next() error {
	if a.buf != nil {
		a.free <- a.buf
		a.buf = nil
	}
	select {
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	case a.at = <-a.full:
		a.buf = a.at.data[:cap(a.at.data)]
		return nil
	}
}
