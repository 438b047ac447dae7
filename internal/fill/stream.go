package fill

import "github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"

// A stream is the sink of one request for leaves.
type stream struct {
	in   *intake
	next int   // the leaf that comes next
	end  int   // the leaf before which the stream ends; may become smaller
	at   int64 // offset of the next byte
}

// Start implements trustless.Sink.
func (st *stream) Start(trustless.File, int64, int64) {}

// Write implements trustless.Sink. It returns ErrEnough after the last leaf of the
// stream, or if no more leaves are needed now.
func (st *stream) Write(b []byte) (int, error) {
	if err := st.take(b); err != nil {
		return len(b), err
	}
	if !st.in.keepPace() {
		return len(b), trustless.ErrEnough
	}
	return len(b), nil
}

func (st *stream) take(b []byte) error {
	in := st.in
	in.fetched.Add(int64(len(b)))
	in.spend(len(b))
	last, err := st.write(b)
	if err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	before := st.next
	st.at += int64(len(b))
	for st.next < st.end && in.table.Leaves[st.next].End <= st.at {
		if st.next == len(in.leaves)-1 && last == held {
			in.leaves[st.next] = held
		} else {
			in.arrived(st.next)
		}
		st.next++
	}
	if st.next > before {
		in.broadcast()
	}
	if st.next >= st.end {
		return trustless.ErrEnough
	}
	return nil
}

// write writes bytes, or keeps them back if they belong to the last leaf of an ordered
// file. It returns the state of the last leaf if b is the end of it.
func (st *stream) write(b []byte) (last state, err error) {
	in := st.in
	n := int(min(int64(len(b)), max(0, in.lastLeaf()-st.at)))
	if err := in.write(b[:n], st.at); err != nil || n == len(b) {
		return present, err
	}
	if in.keepBack(b[n:], st.at+int64(n)) {
		return held, nil
	}
	return present, in.write(b[n:], st.at+int64(n))
}
