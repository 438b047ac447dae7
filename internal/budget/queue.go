package budget

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// A state guards a budget and its parts, and knows who holds bytes of them and who waits.
type state struct {
	sync.Mutex
	requests map[*request]int64 // bytes that each request holds
	clients  map[string]*client // with requests that hold bytes or wait
	waiting  []*waiter
	loans    []*loan // the oldest first
	served   int64   // waiters
}

func newState() *state {
	return &state{requests: map[*request]int64{}, clients: map[string]*client{}}
}

// A client is what the requests of one client have together.
type client struct {
	held    int64 // bytes
	waiting int
	served  int64 // greater than that of clients that were served less recently
}

// A waiter is a request that waits for n bytes of a budget.
type waiter struct {
	budget  *Budget
	request *request
	n       int64
	served  chan struct{} // closed when the bytes are taken or refused
	err     error         // set before
}

// maxWaiting is how many requests of one client may wait.
const maxWaiting = 1024

// enter takes n bytes for a request, or returns a waiter for them. It must be called with
// state held.
func (b *Budget) enter(r *request, n int64) (*waiter, error) {
	s := b.state
	if most := b.mostFor(r); n > most {
		return nil, fmt.Errorf("%w: %d bytes, and the request may take %d", ErrFull, n, most)
	}
	if len(s.waiting) == 0 && b.lacking(n) == nil {
		b.add(r, n)
		return nil, nil
	}
	c := s.client(r.client)
	if c.waiting >= maxWaiting {
		return nil, ErrFull
	}
	c.waiting++
	w := &waiter{budget: b, request: r, n: n, served: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.serve()
	if slices.Contains(s.waiting, w) {
		return w, nil
	}
	return nil, w.err
}

// client returns what is known of a client.
func (s *state) client(name string) *client {
	c := s.clients[name]
	if c == nil {
		c = new(client)
		s.clients[name] = c
	}
	return c
}

// forgetIdle forgets a client without requests that hold bytes or wait.
func (s *state) forgetIdle(name string) {
	if c := s.clients[name]; c.held == 0 && c.waiting == 0 {
		delete(s.clients, name)
	}
}

// mostFor returns how many more bytes a request may take if all others give theirs back. It
// must be called with state held.
func (b *Budget) mostFor(r *request) int64 {
	return min(b.limitNow(), b.whole().limitNow()-b.state.requests[r])
}

// add notes that a request holds n more bytes, or fewer if n is negative. The request is
// nil for bytes that no single request holds.
func (s *state) add(r *request, n int64) {
	if r == nil {
		return
	}
	if s.requests[r] += n; s.requests[r] == 0 {
		delete(s.requests, r)
	}
	s.client(r.client).held += n
	s.forgetIdle(r.client)
}

// compare orders waiters: those come first whose client holds the least, then those whose
// client was served the least recently, and of one client the oldest request.
func (s *state) compare(a, b *waiter) int {
	one, other := s.clients[a.request.client], s.clients[b.request.client]
	return cmp.Or(cmp.Compare(one.held, other.held), cmp.Compare(one.served, other.served), cmp.Compare(a.request.number, b.request.number))
}

// serve gives bytes to those who wait, in their order. While a budget lacks bytes for the
// first of its waiters, the others wait behind it, even if they want fewer: otherwise a
// waiter for many bytes would never get them. It must be called with state held.
func (s *state) serve() {
	var full []*Budget
	for len(s.waiting) > 0 {
		w := s.first(full)
		if w == nil {
			return
		}
		lacking := w.budget.lacking(w.n)
		switch {
		case lacking == nil:
			w.budget.add(w.request, w.n)
			s.served++
			s.clients[w.request.client].served = s.served
			s.end(w, nil)
		case lacking.parent != nil || !s.breakCircle(w):
			full = append(full, lacking)
		}
	}
}

// first returns the first waiter for a budget that is no part of full ones.
func (s *state) first(full []*Budget) (first *waiter) {
	for _, w := range s.waiting {
		if !slices.ContainsFunc(full, w.budget.isPartOf) && (first == nil || s.compare(w, first) < 0) {
			first = w
		}
	}
	return first
}

// breakCircle refuses the last waiter that holds bytes, if the first cannot be served
// before that: what is free, and what is held by requests that do not wait, is too little.
// It reports whether it refused one.
func (s *state) breakCircle(first *waiter) bool {
	whole := first.budget.whole()
	comes := whole.limitNow() - whole.held
	for r, n := range s.requests {
		if !slices.ContainsFunc(s.waiting, func(w *waiter) bool { return w.request == r }) {
			comes += n
		}
	}
	var last *waiter
	for _, w := range s.waiting {
		if w.request != first.request && s.requests[w.request] > 0 && (last == nil || s.compare(w, last) > 0) {
			last = w
		}
	}
	if comes >= first.n || last == nil {
		return false
	}
	s.end(last, ErrFull)
	return true
}

// end ends a wait.
func (s *state) end(w *waiter, err error) {
	s.waiting = slices.DeleteFunc(s.waiting, func(other *waiter) bool { return other == w })
	w.err = err
	close(w.served)
	s.clients[w.request.client].waiting--
	s.forgetIdle(w.request.client)
}

// giveUp ends a wait with an error, unless it has ended already. It returns how it ended.
func (s *state) giveUp(w *waiter, err error) error {
	s.Lock()
	defer s.Unlock()
	if slices.Contains(s.waiting, w) {
		s.end(w, err)
		s.serve() // others waited behind it
	}
	return w.err
}

// isAwaited reports whether a request waits for bytes of a budget, or of one that it is a
// part of.
func (s *state) isAwaited(b *Budget) bool {
	return slices.ContainsFunc(s.waiting, func(w *waiter) bool {
		lacking := w.budget.lacking(w.n)
		return lacking != nil && b.isPartOf(lacking)
	})
}
