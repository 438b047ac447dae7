package blob

import (
	"crypto/sha256"
	"io"
	"sync"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/deflate"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/align"
)

// copySize is the number of bytes of a tar that are read at once.
const copySize = 256 << 10

// align copies the tar of a layer into a blob. Package align cuts the tar into pieces,
// and each piece becomes a leaf: a gzip member, or the piece as it is. Pieces are
// compressed and hashed in parallel and written in order, so the number of workers does
// not change the blob.
func (ws *Workspace) align(r io.Reader, as Compression) (*Blob, error) {
	leaves := ws.Profile.NewCutter()
	w, err := ws.create(leaves)
	if err != nil {
		return nil, err
	}
	w.leaves, w.early = leaves, ws.Early
	p := ws.newPieces(w, as)
	cutter := align.NewCutter(p.put)
	n, err := io.CopyBuffer(cutter, ctxio.Reader(ws.Context, r), make([]byte, copySize))
	if err == nil {
		err = cutter.Close()
	}
	if err == nil && n == 0 && as != Uncompressed { // an empty tar has no piece, and one member
		_, err = p.put(nil)
	}
	if err := p.close(err); err != nil {
		w.abandon()
		return nil, err
	}
	return w.finish()
}

// pieces turns pieces of a tar into leaves, and writes the leaves in order.
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
	gzip   []byte
	leaf   []byte // tar or gzip
	digest [sha256.Size]byte
	done   chan struct{}
}

// spare has pieces for the next layer, each with all the memory that it may need, since
// growing a buffer leaves garbage.
var spare = sync.Pool{New: func() any {
	return &piece{
		tar:  make([]byte, 0, align.MaxPiece),
		gzip: make([]byte, 0, deflate.MaxMember(align.MaxPiece)),
		done: make(chan struct{}, 1),
	}
}}

func (ws *Workspace) newPieces(w *blobWriter, as Compression) *pieces {
	n := 2*ws.Workers + 2
	p := &pieces{
		encode:  func() encoder { return asItIs{} },
		free:    make(chan *piece, n),
		todo:    make(chan *piece, n),
		ordered: make(chan *piece, n),
		failed:  make(chan error, 1),
	}
	if as != Uncompressed {
		p.encode = func() encoder { return newGzipEncoder(ws.Level) }
	}
	for range n {
		p.free <- spare.Get().(*piece)
	}
	for range ws.Workers {
		p.workers.Go(p.work)
	}
	go p.write(w)
	return p
}

// put takes a piece, and returns memory for the next one. Its error is that of the
// writer.
func (p *pieces) put(tar []byte) ([]byte, error) {
	select {
	case next := <-p.free:
		tar, next.tar = next.tar, tar
		p.todo <- next
		p.ordered <- next
		return tar, nil
	case err := <-p.failed:
		p.failed <- err
		return tar, err
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

// write writes leaves in order, until writing fails.
func (p *pieces) write(w *blobWriter) {
	for next := range p.ordered {
		<-next.done
		if err := w.writeLeaf(next.leaf, next.digest); err != nil {
			p.failed <- err
			for next := range p.ordered { // the sender must not block
				<-next.done
			}
			return
		}
		p.free <- next
	}
	close(p.free)
	for next := range p.free {
		spare.Put(next)
	}
	close(p.failed)
}

// close waits until all leaves are written, or writing has failed.
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

func (asItIs) Close() {}

// A gzipEncoder makes a member of each piece.
type gzipEncoder struct {
	*deflate.Encoder
	level int
}

func newGzipEncoder(level int) gzipEncoder {
	if e, ok := gzipEncoders[level].Get().(*deflate.Encoder); ok {
		return gzipEncoder{e, level}
	}
	return gzipEncoder{deflate.NewEncoder(level), level}
}

func (e gzipEncoder) encode(p *piece) []byte {
	p.gzip = e.Append(p.gzip[:0], p.tar)
	return p.gzip
}

func (e gzipEncoder) Close() { gzipEncoders[e.level].Put(e.Encoder) }

// gzipEncoders keeps encoders, by level, because of the tables in them.
var gzipEncoders [MaxLevel + 1]sync.Pool
