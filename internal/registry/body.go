package registry

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// A client that pushes must send something all the time.
const (
	// patience is how long stride bytes of a body may take. A slower client is let go of.
	patience = time.Minute
	stride   = 64 << 10
)

// A body is the body of a request that pushes something. Reading fails if the client
// stalls, or sends another number of bytes than it said.
type body struct {
	io.Reader
	server   *http.ResponseController
	patience time.Duration
	size     int64 // bytes that it must have; -1 if that is not known
	received int64 // bytes
	due      int64 // how many bytes must be received before the deadline moves on
	complete bool  // whether all was read
	ended    atomic.Bool
}

func newBody(w http.ResponseWriter, r Request, size int64) *body {
	return &body{Reader: r.Body, server: http.NewResponseController(w), patience: patience, size: size}
}

// A sizeError says that a body has another number of bytes than its client said.
type sizeError struct{ said, received int64 }

func (e *sizeError) Error() string {
	if e.received > e.said {
		return fmt.Sprintf("the body has more than the %d bytes that Content-Range says", e.said)
	}
	return fmt.Sprintf("the body has %d bytes, and not %d as Content-Range says", e.received, e.said)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.received >= b.due {
		b.due = b.received + stride
		_ = b.server.SetReadDeadline(time.Now().Add(b.patience)) // a server without deadlines has limits of its own
	}
	if b.size >= 0 && int64(len(p)) > b.size-b.received+1 {
		p = p[:b.size-b.received+1]
	}
	n, err := b.Reader.Read(p)
	b.complete = err == io.EOF
	b.received += int64(n)
	if b.size >= 0 && (b.received > b.size || err == io.EOF && b.received < b.size) {
		return n + int(min(0, b.size-b.received)), &sizeError{b.size, b.received}
	}
	return n, err
}

// end removes the deadline, which would end the request, if the body was read. Otherwise the
// server reads some more of it before it answers, for which the deadline holds.
func (b *body) end() {
	b.ended.Store(true)
	if b.complete {
		_ = b.server.SetReadDeadline(time.Time{})
	}
}

// cutOff ends a read that waits for the client. It may be called at any time.
func (b *body) cutOff() {
	if !b.ended.Load() {
		_ = b.server.SetReadDeadline(time.Now())
	}
}

// refuseBody gives the server some time to read what it reads of a body that nobody wants.
func refuseBody(w http.ResponseWriter, r Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	}
}

// isStalled reports whether a client sent too little for too long.
func isStalled(err error) bool { return os.IsTimeout(err) }
