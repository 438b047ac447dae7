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

// A reader is somebody who asks for a blob, or for a part of it.
type reader struct {
	filler  *Filler
	session trustless.Session
	blob    Blob
	part    *gateway.Range
	sink    trustless.Sink

	started bool
	file    *os.File // that is read, nil before anything is there
	next    int64    // offset of what the sink gets next
	to      int64
}

func (r *reader) fromStart() bool { return r.part == nil || r.part.First == 0 }

// read writes what is wanted to the sink, or returns another fill that has it.
func (r *reader) read(ctx context.Context, fl *fill) (*fill, error) {
	size, err := fl.size(ctx)
	if err != nil {
		return nil, err
	}
	if other := fl.another(); other != nil {
		other.enter(!r.fromStart())
		return other, nil
	}
	if fl.theirs != nil && !r.fromStart() {
		return nil, passedBy{store.ErrBusy} // nobody tells the other process to hurry
	}
	from, to := int64(0), size
	if r.part != nil {
		if from, to = r.part.Resolve(size); from >= to {
			return nil, gateway.RangeError{Size: size}
		}
	}
	if !fl.comesSoon(from) {
		return nil, passedBy{errFar}
	}
	r.next, r.to = from, to
	return nil, r.copy(ctx, fl, from, to, size)
}

var errFar = errors.New("the file grows in order, and that is far from there")

// comesSoon reports whether what is at an offset does not have to wait for all that
// is before it.
func (fl *fill) comesSoon(at int64) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return !fl.ordered || fl.digest != "" || at-fl.table.Start(min(fl.prefix(), len(fl.leaves)-1)) <= far
}

func (r *reader) copy(ctx context.Context, fl *fill, from, to, size int64) error {
	defer fl.unwant(r)
	defer func() { r.file.Close() }()
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

// open opens the file, or another if what another process fetched is not in the file
// that grew.
func (r *reader) open(ctx context.Context, fl *fill) error {
	if r.file != nil && (fl.theirs == nil || r.file.Name() == fl.where()) {
		return nil
	}
	r.file.Close()
	var err error
	if r.file, err = fl.open(ctx); err != nil {
		return err
	}
	if _, err := r.file.Seek(r.next, io.SeekStart); err != nil {
		return passedBy{err}
	}
	return nil
}

// take gives the sink what is there.
func (r *reader) take(fl *fill, end int64) error {
	n, err := r.give(fl, end)
	r.next += n
	if _, ours := errors.AsType[*fs.PathError](err); ours || err == nil && n == 0 {
		return passedBy{errors.Join(errors.New("reading what was cached"), err)}
	}
	return err
}

// give gives it as a file where that may be, for which there are faster ways.
func (r *reader) give(fl *fill, end int64) (int64, error) {
	if files, ok := r.sink.(io.ReaderFrom); ok && fl.lend(r.file, r.to) {
		defer fl.giveBack()
		return files.ReadFrom(r.file)
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{r.sink}, io.LimitReader(r.file, end-r.next), buf[:])
}

const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// size waits until it is known how many bytes the blob has, or that another fill
// knows.
func (fl *fill) size(ctx context.Context) (int64, error) {
	for {
		fl.mu.Lock()
		table, moved, over, changed := fl.table, fl.moved, fl.over, fl.changed
		fl.mu.Unlock()
		switch {
		case moved != nil:
			return 0, nil
		case table != nil:
			return table.Size(), nil
		case over != nil:
			return 0, over
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// another returns the fill that has the same file, and began earlier.
func (fl *fill) another() *fill {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.moved
}

// unwant says that a reader waits no more.
func (fl *fill) unwant(r *reader) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	delete(fl.wanted, r)
}

// straight writes what the sink has not got yet, past the cache.
func (r *reader) straight(ctx context.Context) error {
	if !r.started {
		return r.session.Copy(ctx, r.blob.Place, r.part, r.sink)
	}
	rest := &gateway.Range{First: r.next, Last: r.to - 1}
	return r.session.Copy(ctx, r.blob.Place, rest, going{r.sink})
}

// going is a sink that has started.
type going struct{ io.Writer }

func (going) Start(trustless.File, int64, int64) {}
