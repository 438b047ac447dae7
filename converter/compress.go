package converter

import (
	"bytes"
	"crypto/sha256"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/align"
)

// level is the gzip level of aligned layers, and part of format 1.
const level = 7

// compress copies the tar of a layer into a blob of gzip members, one for each
// of the pieces that package align cuts it into, and each a leaf. Members are
// compressed in parallel and written in order, so the blob is the same however
// many workers there are.
func (ws *workspace) compress(r io.Reader) (*Blob, error) {
	w, err := ws.create()
	if err != nil {
		return nil, err
	}
	m := newMembers(w, ws.workers)
	cutter := align.NewCutter(m.compress)
	n, err := io.Copy(cutter, contextReader{ws.ctx, r})
	if err == nil {
		err = cutter.Close()
	}
	if err == nil && n == 0 { // no bytes have no piece, and yet a member
		err = m.compress(nil)
	}
	if err := m.close(err); err != nil {
		w.abandon()
		return nil, err
	}
	return w.finish()
}

// members compresses pieces, each to a gzip member, and writes these in order.
type members struct {
	free    chan *member // bounds memory
	todo    chan *member // to the workers
	ordered chan *member // to the writer
	failed  chan error   // the writer's error, closed when it ends
	workers sync.WaitGroup
}

type member struct {
	piece  []byte
	gzip   bytes.Buffer
	digest [sha256.Size]byte
	done   chan struct{}
}

func newMembers(w *blobWriter, workers int) *members {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	n := 2*workers + 2
	m := &members{
		free:    make(chan *member, n),
		todo:    make(chan *member, n),
		ordered: make(chan *member, n),
		failed:  make(chan error, 1),
	}
	for range n {
		m.free <- &member{done: make(chan struct{}, 1)}
	}
	for range workers {
		m.workers.Go(m.work)
	}
	go m.write(w)
	return m
}

// compress takes a piece. Its error is the writer's.
func (m *members) compress(piece []byte) error {
	select {
	case next := <-m.free:
		next.piece = append(next.piece[:0], piece...)
		m.todo <- next
		m.ordered <- next
		return nil
	case err := <-m.failed:
		m.failed <- err
		return err
	}
}

func (m *members) work() {
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	for next := range m.todo {
		next.gzip.Reset()
		z.Reset(&next.gzip)
		z.Write(next.piece) // to memory, which does not fail
		z.Close()
		next.digest = sha256.Sum256(next.gzip.Bytes())
		next.done <- struct{}{}
	}
}

// gzipWriters are kept, since each has a megabyte of tables.
var gzipWriters = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		panic(err) // level is no level
	}
	return z
}}

// write writes members in order, until one cannot be written.
func (m *members) write(w *blobWriter) {
	for next := range m.ordered {
		<-next.done
		if err := w.writeLeaf(next.gzip.Bytes(), next.digest); err != nil {
			m.failed <- err
			for next := range m.ordered { // whose sender must not wait
				<-next.done
			}
			return
		}
		m.free <- next
	}
	close(m.failed)
}

// close waits until everything is written, unless there was an error before.
func (m *members) close(before error) error {
	close(m.todo)
	close(m.ordered)
	m.workers.Wait()
	if err := <-m.failed; err != nil {
		return err
	}
	return before
}
