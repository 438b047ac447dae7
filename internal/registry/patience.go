package registry

import (
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ReaderPatience is how long a client may take for readerStep bytes of an answer. A
	// client that takes less holds memory, and perhaps a file that was evicted. The
	// registry closes its connection, at the latest after twice that time.
	ReaderPatience = 5 * time.Minute

	// readerStep is less than any client takes in that time. It is not one byte, because a
	// client that takes a byte now and then does not want the answer either.
	readerStep = 64 << 10
)

// A patientWriter is the http.ResponseWriter of a request. It closes the connection of a
// client that does not read. The time in which the registry waits for gateways does not
// count.
type patientWriter struct {
	http.ResponseWriter

	written atomic.Int64
	writing atomic.Bool             // whether a call waits for the client
	file    atomic.Pointer[os.File] // which the call sends, if it sends one
	gaveUp  atomic.Bool

	mu       sync.Mutex // guards the fields below
	patience time.Duration
	timer    *time.Timer // nil once the request has ended
	progress int64       // at the end of the last period
	waited   bool        // whether a call waited for the client then
}

// newPatientWriter returns a writer that must be stopped in the end.
func newPatientWriter(w http.ResponseWriter, patience time.Duration) *patientWriter {
	p := &patientWriter{ResponseWriter: w, patience: patience}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(patience, p.look)
	return p
}

func (p *patientWriter) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.timer = nil
}

// look is called after every period.
func (p *patientWriter) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	before, waited := p.progress, p.waited
	p.progress, p.waited = p.taken(), p.writing.Load()
	if waited && p.waited && p.progress-before < readerStep {
		p.gaveUp.Store(true)
		// This fails only for connections without deadlines, which servers do not have.
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now())
		return
	}
	p.timer.Reset(p.patience)
}

// taken returns how many bytes were sent. The offset of a file that is being sent counts.
func (p *patientWriter) taken() int64 {
	n := p.written.Load()
	if f := p.file.Load(); f != nil {
		if offset, err := f.Seek(0, io.SeekCurrent); err == nil {
			n += offset
		}
	}
	return n
}

// Write implements http.ResponseWriter.
func (p *patientWriter) Write(b []byte) (int, error) {
	p.writing.Store(true)
	defer p.writing.Store(false)
	n, err := p.ResponseWriter.Write(b)
	p.written.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom. One call may send a whole file through the kernel,
// which moves the file's offset as the client takes it.
func (p *patientWriter) ReadFrom(r io.Reader) (int64, error) {
	f, ok := fileOf(r)
	if !ok {
		return io.Copy(onlyWriter{p}, r)
	}
	p.file.Store(f)
	defer p.file.Store(nil)
	p.writing.Store(true)
	defer p.writing.Store(false)
	return io.Copy(p.ResponseWriter, r)
}

// fileOf returns the file that r reads. It knows only Linux to move offsets while it sends.
func fileOf(r io.Reader) (*os.File, bool) {
	if limited, ok := r.(*io.LimitedReader); ok {
		r = limited.R
	}
	f, ok := r.(*os.File)
	return f, ok && runtime.GOOS == "linux"
}

type onlyWriter struct{ io.Writer }

// Unwrap lets http.ResponseController find the server's writer.
func (p *patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// gaveUp reports whether w closed the connection because the client did not read.
func gaveUp(w http.ResponseWriter) bool {
	p, ok := w.(*patientWriter)
	return ok && p.gaveUp.Load()
}

// Interface guards
var (
	_ http.ResponseWriter = (*patientWriter)(nil)
	_ io.ReaderFrom       = (*patientWriter)(nil)
)
