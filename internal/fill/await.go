package fill

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// open opens the growing file.
func (fl *fill) open(ctx context.Context) (*os.File, error) {
	f, err := os.Open(fl.where())
	if errors.Is(err, fs.ErrNotExist) { // it is being put in its place
		select {
		case <-fl.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		f, err = os.Open(fl.where())
	}
	if err != nil {
		return nil, passedBy{err}
	}
	return f, nil
}

func (fl *fill) where() string {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.path
}

// await waits until there are bytes at an offset, and returns how far they go.
// Nobody has them fetched because of it where reader is nil. The end of the blob
// is there once its digest is known, to whoever would take it for the whole.
func (fl *fill) await(ctx context.Context, r *reader, from, to int64, whole bool) (int64, error) {
	for {
		fl.mu.Lock()
		end := fl.available(from, to, whole, r == nil)
		changed, err := fl.changed, fl.why(from, end == from)
		if end == from && err == nil && r != nil {
			fl.want(r, from)
		}
		fl.mu.Unlock()
		if end > from || err != nil {
			return end, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return from, context.Cause(ctx)
		}
	}
}

// available returns how far bytes go that are there, and for the proof also those
// that are kept back.
func (fl *fill) available(from, to int64, whole, proof bool) int64 {
	if whole && fl.digest == "" {
		to = min(to, fl.table.Start(len(fl.leaves)-1))
	}
	if from >= to {
		return from
	}
	i, j := fl.table.Span(from, to)
	for ; i < j && (fl.leaves[i] == there || proof && fl.leaves[i] == held); i++ {
		from = min(to, fl.table.Leaves[i].End)
	}
	return from
}

// why returns the reason why bytes at an offset will not come.
func (fl *fill) why(from int64, lacking bool) error {
	switch {
	case !lacking:
		return nil
	case fl.over != nil:
		return fl.over
	case fl.failed != nil && !fl.isClaimed(from):
		return fl.failed
	}
	return nil
}
