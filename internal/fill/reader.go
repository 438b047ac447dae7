package fill

import (
	"context"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A reader is somebody who asks for a blob, or for a part of it.
type reader struct {
	filler  *Filler
	session trustless.Session
	blob    Blob
	part    *trustless.Range
	sink    trustless.Sink

	started bool
	next    int64 // offset of what the sink gets next
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
			return nil, trustless.RangeError{Size: size}
		}
	}
	r.next, r.to = from, to
	return nil, r.copy(ctx, fl, from, to, size)
}

func (r *reader) copy(ctx context.Context, fl *fill, from, to, size int64) error {
	f, err := fl.open()
	if err != nil {
		return err
	}
	defer f.Close()
	defer fl.unwant(r)
	whole := from == 0 && to == size
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return passedBy{err}
	}
	for r.next < to {
		end, err := fl.await(ctx, r, r.next, to, whole)
		if err != nil {
			return err
		}
		if whole && end == size && fl.digest != r.blob.Digest {
			return fl.lie(fl.digest)
		}
		if !r.started {
			r.started = true
			r.sink.Start(from, to, size)
		}
		n, err := io.Copy(r.sink, io.LimitReader(f, end-r.next))
		if r.next += n; err != nil {
			return err
		}
		if n == 0 {
			return passedBy{io.ErrUnexpectedEOF}
		}
	}
	return nil
}

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
		return r.session.Copy(ctx, r.blob.Root, r.blob.Path, r.part, r.sink)
	}
	rest := &trustless.Range{First: r.next, Last: r.to - 1}
	return r.session.Copy(ctx, r.blob.Root, r.blob.Path, rest, going{r.sink})
}

// going is a sink that has started.
type going struct{ io.Writer }

func (going) Start(int64, int64, int64) {}
