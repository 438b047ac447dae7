package budget

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// A loan is memory that can be recalled, such as that of a document which a client reads
// slowly.
type loan struct {
	budget  *Budget
	request *request
	n       int64 // bytes
	since   time.Time
	recall  func() // nil once it was called
}

const (
	// recallAfter is how long a request waits before loans are recalled for it.
	recallAfter = Wait / 5

	// leastLoan is how long a loan lasts in any case.
	leastLoan = 2 * time.Second
)

// Lend is Take for memory that the caller can give back early. If other requests wait for
// it, recall is called once, in a goroutine of its own. The caller must then end what it
// does with the memory, and call release as always. The loans of the client that holds the
// most are recalled first, and of these the oldest.
func (b *Budget) Lend(ctx context.Context, n int64, recall func()) (release func(), err error) {
	giveBack, err := b.Take(ctx, n)
	if b == nil || err != nil {
		return giveBack, err
	}
	l := &loan{b, requestOf(ctx), n, time.Now(), recall}
	s := b.state
	s.Lock()
	defer s.Unlock()
	s.loans = append(s.loans, l)
	return sync.OnceFunc(func() {
		s.forget(l)
		giveBack()
	}), nil
}

func (s *state) forget(l *loan) {
	s.Lock()
	defer s.Unlock()
	s.loans = slices.DeleteFunc(s.loans, func(other *loan) bool { return other == l })
}

// recall recalls the loans that make up for what a waiter lacks, if there are as many.
func (s *state) recall(w *waiter) {
	s.Lock()
	defer s.Unlock()
	lacking := w.budget.lacking(w.n)
	if lacking == nil {
		return
	}
	missing := lacking.held + w.n - lacking.limitNow()
	var old []*loan
	for _, l := range s.loans {
		switch {
		case !l.budget.isPartOf(lacking):
		case l.recall == nil:
			missing -= l.n
		case time.Since(l.since) >= leastLoan:
			old = append(old, l)
		}
	}
	slices.SortStableFunc(old, func(a, b *loan) int {
		return cmp.Compare(s.clients[b.request.client].held, s.clients[a.request.client].held)
	})
	n := 0
	for ; n < len(old) && missing > 0; n++ {
		missing -= old[n].n
	}
	if missing > 0 {
		return
	}
	for _, l := range old[:n] {
		go l.recall()
		l.recall = nil
	}
}
