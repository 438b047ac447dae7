package fill

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A reader is one request for a blob, or for a part of it.
type reader struct {
	session trustless.Session
	blob    Blob
	part    *gateway.Range
	sink    trustless.Sink

	started bool
	file    *os.File // nil until the first bytes are present
	done    func()   // is called after file was closed
	version int      // of the growing file
	next    int64    // offset of the byte that the sink gets next
	to      int64    // offset after the last byte that the sink gets
}

// fromStart reports whether the reader wants the beginning of the blob, and much of it.
func (r *reader) fromStart() bool {
	return r.part == nil || r.part.First == 0 && (r.part.Last < 0 || r.part.Last >= far)
}

var errFar = errors.New("the file grows in order, and is far from that part")

// read writes the wanted bytes to the sink, or returns another fill that has them.
func (r *reader) read(ctx context.Context, fl *fill) (*fill, error) {
	size, other, err := r.size(ctx, fl)
	if err != nil {
		return nil, err
	}
	if other != nil {
		other.enter(!r.fromStart())
		return other, nil
	}
	if fl.now() == following && !r.fromStart() {
		return nil, passedBy{store.ErrBusy} // the other process does not know which part to fetch first
	}
	if r.part == nil {
		fl.whole.Store(true)
		fl.fetchAll()
	}
	from, to := int64(0), size
	if r.part != nil {
		if from, to = r.part.Resolve(size); from >= to {
			return nil, gateway.RangeError{Size: size}
		}
	}
	if fl.isAhead(from) {
		return nil, passedBy{errFar}
	}
	r.next, r.to = from, to
	return nil, r.copy(ctx, fl, from, to, size)
}

// size waits for the size of the blob. It returns another fill if that has the file.
func (r *reader) size(ctx context.Context, fl *fill) (size int64, other *fill, err error) {
	cut := fl.wait(ctx, func() bool {
		switch {
		case fl.phase == moved:
			other = fl.target
		case fl.table != nil:
			size = fl.table.Size()
		case fl.phase == over:
			err = fl.err
		default:
			return false
		}
		return true
	})
	return size, other, errors.Join(cut, err)
}

func (r *reader) copy(ctx context.Context, fl *fill, from, to, size int64) error {
	defer fl.unwant(r)
	defer r.close()
	whole := from == 0 && to == size
	for r.next < to {
		end, err := fl.await(ctx, r, r.next, to, whole)
		if err == nil && whole && end == size && fl.digest != r.blob.Digest {
			err = falseDigest{fl.digest}
		}
		if err == nil {
			err = r.open(ctx, fl)
		}
		if err != nil {
			return err
		}
		if !r.started {
			r.started = true
			r.sink.Start(trustless.File{CID: fl.file, Size: size, Table: fl.table}, from, to)
		}
		if err := r.take(fl, end); err != nil {
			return err
		}
	}
	return nil
}

// open opens the growing file, unless it is open.
func (r *reader) open(ctx context.Context, fl *fill) error {
	for {
		fl.mu.Lock()
		open, version, was := fl.growing.open, fl.version, fl.phase
		fl.mu.Unlock()
		if r.file != nil && r.version == version {
			return nil
		}
		r.close()
		f, done, err := open()
		if errors.Is(err, fs.ErrNotExist) && was == following { // the other process has put it in its place
			if err := fl.wait(ctx, func() bool { return fl.phase != following }); err != nil {
				return err
			}
			if p := fl.now(); p == complete || p == fetching {
				continue
			}
		}
		if err != nil {
			return passedBy{err}
		}
		r.file, r.done, r.version = f, done, version
		if _, err := f.Seek(r.next, io.SeekStart); err != nil {
			return passedBy{err}
		}
		return nil
	}
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.done()
		r.file = nil
	}
}

// take gives the sink the present bytes up to end.
func (r *reader) take(fl *fill, end int64) error {
	sent := fl.sends(r.file, r.next)
	n, err := r.give(fl, end)
	sent(n)
	r.next += n
	fl.fetchAllIfWanted()
	if _, ours := errors.AsType[*fs.PathError](err); ours || err == nil && n == 0 {
		return passedBy{errors.Join(errors.New("reading what was cached"), err)}
	}
	return err
}

// give gives the sink the file itself if possible: the system sends a file faster.
func (r *reader) give(fl *fill, end int64) (int64, error) {
	if files, ok := r.sink.(io.ReaderFrom); ok && fl.lend(r.version, r.to) {
		defer fl.takeBack()
		return files.ReadFrom(r.file)
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{r.sink}, io.LimitReader(r.file, end-r.next), buf[:])
}

const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// straight copies the rest of the wanted bytes to the sink past the cache.
func (r *reader) straight(ctx context.Context) error {
	if !r.started {
		return r.session.Copy(ctx, r.blob.Place, r.part, r.sink)
	}
	rest := &gateway.Range{First: r.next, Last: r.to - 1}
	return r.session.Copy(ctx, r.blob.Place, rest, startedSink{r.sink})
}

// A startedSink is a sink that has started.
type startedSink struct{ io.Writer }

func (startedSink) Start(trustless.File, int64, int64) {}
