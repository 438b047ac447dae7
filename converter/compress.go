package converter

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/align"
)

// Levels of gzip. The default is part of format 1.
const (
	DefaultLevel = 7
	MaxLevel     = 9
)

// align copies the tar of a layer into a blob whose leaves are the pieces that
// package align cuts it into: each a gzip member, or as it is. Pieces are
// compressed and hashed in parallel and written in order, so the blob is the
// same however many workers there are.
func (ws *workspace) align(r io.Reader, as Compression) (*Blob, error) {
	w, err := ws.create()
	if err != nil {
		return nil, err
	}
	p := ws.newPieces(w, as)
	cutter := align.NewCutter(p.put)
	n, err := io.Copy(cutter, contextReader{ws.ctx, r})
	if err == nil {
		err = cutter.Close()
	}
	if err == nil && n == 0 && as != Uncompressed { // no bytes have no piece, and yet a member
		err = p.put(nil)
	}
	if err := p.close(err); err != nil {
		w.abandon()
		return nil, err
	}
	return w.finish()
}

// pieces turns pieces of a tar into leaves, and writes these in order.
type pieces struct {
	encode  func() encoder // for each worker
	free    chan *piece    // bounds memory
	todo    chan *piece    // to the workers
	ordered chan *piece    // to the writer
	failed  chan error     // the writer's error, closed when it ends
	workers sync.WaitGroup
}

type piece struct {
	tar    []byte
	gzip   bytes.Buffer
	leaf   []byte // tar or gzip
	digest [sha256.Size]byte
	done   chan struct{}
}

func (ws *workspace) newPieces(w *blobWriter, as Compression) *pieces {
	workers := cmp.Or(ws.workers, runtime.GOMAXPROCS(0))
	n := 2*workers + 2
	p := &pieces{
		encode:  func() encoder { return asItIs{} },
		free:    make(chan *piece, n),
		todo:    make(chan *piece, n),
		ordered: make(chan *piece, n),
		failed:  make(chan error, 1),
	}
	if as != Uncompressed {
		p.encode = func() encoder { return newGzipEncoder(cmp.Or(ws.level, DefaultLevel)) }
	}
	for range n {
		p.free <- &piece{done: make(chan struct{}, 1)}
	}
	for range workers {
		p.workers.Go(p.work)
	}
	go p.write(w)
	return p
}

// put takes a piece. Its error is the writer's.
func (p *pieces) put(tar []byte) error {
	select {
	case next := <-p.free:
		next.tar = append(next.tar[:0], tar...)
		p.todo <- next
		p.ordered <- next
		return nil
	case err := <-p.failed:
		p.failed <- err
		return err
	}
}

func (p *pieces) work() {
	e := p.encode()
	defer e.Close()
	for next := range p.todo {
		next.leaf = e.encode(next)
		next.digest = sha256.Sum256(next.leaf)
		next.done <- struct{}{}
	}
}

// write writes leaves in order, until one cannot be written.
func (p *pieces) write(w *blobWriter) {
	for next := range p.ordered {
		<-next.done
		if err := w.writeLeaf(next.leaf, next.digest); err != nil {
			p.failed <- err
			for next := range p.ordered { // whose sender must not wait
				<-next.done
			}
			return
		}
		p.free <- next
	}
	close(p.failed)
}

// close waits until everything is written, unless there was an error before.
func (p *pieces) close(before error) error {
	close(p.todo)
	close(p.ordered)
	p.workers.Wait()
	if err := <-p.failed; err != nil {
		return err
	}
	return before
}

// An encoder makes leaves of pieces. It is for one goroutine.
type encoder interface {
	encode(p *piece) (leaf []byte)
	Close()
}

type asItIs struct{}

func (asItIs) encode(p *piece) []byte { return p.tar }
func (asItIs) Close()                 {}

// A gzipEncoder makes a member of each piece.
type gzipEncoder struct {
	level int
	z     *gzip.Writer
}

func newGzipEncoder(level int) *gzipEncoder {
	if z, ok := gzipWriters[level].Get().(*gzip.Writer); ok {
		return &gzipEncoder{level, z}
	}
	z, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		panic(err) // levels are checked where they come from
	}
	return &gzipEncoder{level, z}
}

func (e *gzipEncoder) encode(p *piece) []byte {
	p.gzip.Reset()
	e.z.Reset(&p.gzip)
	e.z.Write(p.tar) // to memory, which does not fail
	e.z.Close()
	return p.gzip.Bytes()
}

func (e *gzipEncoder) Close() { gzipWriters[e.level].Put(e.z) }

// gzipWriters are kept, by level, since each has a megabyte of tables.
var gzipWriters [MaxLevel + 1]sync.Pool
