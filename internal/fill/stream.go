package fill

import (
	"errors"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

const (
	// maxStreams is how many requests for parts of one blob there are at once. The
	// last of them is for whoever wants something that none of the others brings
	// soon.
	maxStreams = 4

	// far is how many bytes away something is that is not there soon.
	far = 8 << 20

	// maxGap is how many bytes are fetched, though they need not be, so that what
	// is before and after them comes in one answer.
	maxGap = 64 << 10
)

// A stream is one request under way, for the leaves [next, end). It is a
// trustless.Sink.
type stream struct {
	fill *fill
	next int   // leaf
	end  int   // which may come nearer
	at   int64 // offset of the byte that comes next
}

// want notes that a reader waits at an offset. It is called with mu held.
func (fl *fill) want(r *reader, at int64) {
	fl.wanted[r] = at
	fl.bring(at)
}

// bring makes sure that what is at an offset is there soon, if that takes no more
// streams than there may be. It is called with mu held.
func (fl *fill) bring(at int64) {
	if len(fl.claims) == maxStreams || fl.partial == nil || fl.ctx.Err() != nil {
		return
	}
	i, _ := fl.table.Span(at, at+1)
	if fl.leaves[i] != missing {
		return
	}
	if fl.ordered {
		fl.continueInOrder()
		return
	}
	st := fl.claimOf(i)
	switch {
	case st == nil:
		fl.start(fl.claim(i, fl.endOfRun(i)))
	case fl.table.Start(i)-st.at > far:
		st.end = i
		fl.start(fl.claim(i, fl.endOfRun(i)))
	}
}

// continueInOrder makes sure that there is the one stream that an ordered fill has.
func (fl *fill) continueInOrder() {
	if i := fl.prefix(); len(fl.claims) == 0 && i < len(fl.leaves) && fl.leaves[i] == missing {
		fl.start(fl.claim(i, len(fl.leaves)))
	}
}

// dispatch starts the streams that are of use now. It is called with mu held.
func (fl *fill) dispatch() {
	if fl.ordered && fl.ctx.Err() == nil {
		if fl.all || len(fl.wanted) > 0 {
			fl.continueInOrder()
		}
		return
	}
	for _, at := range fl.wanted {
		fl.bring(at)
	}
	for i := 0; fl.all && i < len(fl.leaves) && len(fl.claims) < maxStreams-1 && fl.ctx.Err() == nil; i++ {
		if st := fl.claimOf(i); st != nil {
			i = st.end - 1
			continue
		}
		if fl.leaves[i] == missing {
			fl.start(fl.claim(i, fl.endOfRun(i)))
		}
	}
}

// claimOf returns the stream that brings a leaf.
func (fl *fill) claimOf(leaf int) *stream {
	for _, st := range fl.claims {
		if st.next <= leaf && leaf < st.end {
			return st
		}
	}
	return nil
}

func (fl *fill) isClaimed(at int64) bool {
	i, _ := fl.table.Span(at, at+1)
	return fl.leaves[i] == nearby || fl.claimOf(i) != nil
}

// endOfRun returns where what is to be fetched at once ends that begins with a
// leaf.
func (fl *fill) endOfRun(i int) int {
	end, most := i, fl.table.Size()
	if fl.parts {
		most = fl.table.Start(i) + far
	}
	for gap := int64(0); i < len(fl.leaves) && gap <= maxGap && fl.table.Start(i) < most && fl.claimOf(i) == nil; i++ {
		if fl.leaves[i] == missing {
			end, gap = i+1, 0
		} else {
			gap += int64(fl.table.Len(i))
		}
	}
	return end
}

// claim is called with mu held.
func (fl *fill) claim(next, end int) *stream {
	st := &stream{fill: fl, next: next, end: end, at: fl.table.Start(next)}
	fl.claims = append(fl.claims, st)
	return st
}

// start has a stream fetch what it claims.
func (fl *fill) start(st *stream) {
	part := gateway.Range{First: st.at, Last: fl.table.Leaves[st.end-1].End - 1}
	fl.streams.Go(func() {
		st.ended(fl.session.Copy(fl.ctx, fl.blob.Place, &part, st))
	})
}

// Start implements trustless.Sink.
func (st *stream) Start(trustless.File, int64, int64) {}

// Write implements trustless.Sink. A stream ends where it comes to a leaf that is
// there already. Bytes that are on their way then come in vain, so once a reader
// asks for a part, a stream claims at most far bytes.
func (st *stream) Write(b []byte) (int, error) {
	fl := st.fill
	fl.fetched.Add(int64(len(b)))
	n := int(min(int64(len(b)), max(0, fl.lastLeaf()-st.at)))
	if err := fl.write(b[:n], st.at); err != nil {
		return 0, err
	}
	state := there
	if n < len(b) && fl.keepBack(b[n:], st.at+int64(n)) {
		state = held
	} else if err := fl.write(b[n:], st.at+int64(n)); err != nil {
		return 0, err
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	st.at += int64(len(b))
	came := false
	for st.next < st.end && fl.table.Leaves[st.next].End <= st.at {
		fl.leaves[st.next] = there
		if st.next == len(fl.leaves)-1 {
			fl.leaves[st.next] = state
		}
		st.next++
		came = true
	}
	if came {
		fl.broadcast()
	}
	if st.next >= st.end {
		return len(b), trustless.ErrEnough
	}
	return len(b), nil
}

// ended says why a stream brings no more.
func (st *stream) ended(err error) {
	fl := st.fill
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for i, claim := range fl.claims {
		if claim == st {
			fl.claims = append(fl.claims[:i], fl.claims[i+1:]...)
			break
		}
	}
	switch {
	case fl.ctx.Err() != nil:
		return
	case err == nil:
		fl.dispatch()
	default:
		fl.failed = err
	}
	fl.broadcast()
}

// A first is a stream that began before anything of the file was known.
type first struct {
	*stream // nil where what comes is of no use
	fill    *fill
	started bool
	found   chan error
}

// findByStream asks for the blob as a whole, and for what it is at the same time.
func (fl *fill) findByStream() error {
	f := &first{fill: fl, found: make(chan error, 1)}
	fl.streams.Go(func() {
		err := fl.session.CopyWithTable(fl.ctx, fl.blob.Place, nil, f)
		switch {
		case !f.started && err == nil:
			f.found <- passedBy{errors.New("an answer without a beginning")}
		case !f.started:
			f.found <- err
		case f.stream != nil:
			f.ended(err)
		}
	})
	return <-f.found
}

// Start implements trustless.Sink.
func (f *first) Start(file trustless.File, _, _ int64) {
	f.started = true
	fl := f.fill
	err := fl.found(file.CID, file.Table)
	if err == nil && fl.partial != nil {
		fl.mu.Lock()
		if fl.leaves[0] == missing && len(fl.claims) == 0 {
			f.stream = fl.claim(0, fl.endOfRun(0))
		}
		fl.mu.Unlock()
	}
	f.found <- err
}

// Write implements trustless.Sink.
func (f *first) Write(b []byte) (int, error) {
	if f.stream == nil {
		return 0, trustless.ErrEnough
	}
	return f.stream.Write(b)
}
