package fill

import (
	"context"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A growing is the file of a blob while its leaves arrive, in any order.
type growing struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when a field below changes
	phase   phase
	err     error // in phase over

	table  *unixfs.Table // nil while finding
	leaves []state
	prefix int // leaves at the beginning that are present

	// open opens the file for a reader, which calls done after closing it. version
	// changes when open begins to open another file.
	open    func() (f *os.File, done func(), err error)
	version int

	// While ordered, the file grows from its beginning to its end. It ends where the
	// present leaves end, so a reader of the rest may read the file to its end. The
	// last leaf is held in tail until the digest is known.
	ordered bool
	lent    int // readers that read the file to its end
	tail    []byte

	digest digest.Digest // in phase complete
}

// A phase says how far a fill has come.
type phase int

const (
	finding   phase = iota // the file is not known yet
	moved                  // the readers go to another fill of the same file
	fetching               // leaves are written to a file of the cache
	following              // another process writes the file
	complete               // all leaves are present, and the digest is known
	over                   // no more leaves will come
)

// A state says where a leaf is.
type state byte

const (
	missing state = iota
	nearby        // perhaps on disk, in this file or another blob; about to be looked at
	held          // in tail
	present       // in the file
)

// begin begins the file in a phase.
func (g *growing) begin(p phase, t *unixfs.Table, open func() (*os.File, func(), error)) {
	if g.table == nil { // otherwise it is the same table, which readers read without mu
		g.table = t
	}
	g.phase, g.leaves, g.prefix = p, make([]state, len(t.Leaves)), 0
	g.open, g.version = open, g.version+1
	g.broadcast()
}

// completeAs notes that all leaves are present, and the digest of the blob. It must be
// called with mu held.
func (g *growing) completeAs(d digest.Digest) {
	for i := range g.leaves {
		g.leaves[i] = present
	}
	g.phase, g.digest, g.prefix = complete, d, len(g.leaves)
	g.broadcast()
}

// arrived notes that a leaf is present. It must be called with mu held, and broadcast
// after it.
func (g *growing) arrived(i int) {
	g.leaves[i] = present
	for g.prefix < len(g.leaves) && g.leaves[g.prefix] == present {
		g.prefix++
	}
}

// broadcast wakes all goroutines that wait for a change. It must be called with mu held.
func (g *growing) broadcast() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// finish ends the file with the reason why no more leaves will come, unless it has ended
// before.
func (g *growing) finish(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase == over {
		return
	}
	g.phase, g.err = over, err
	g.broadcast()
}

// wait calls look with mu held until it returns true, and waits for a change between
// its calls.
func (g *growing) wait(ctx context.Context, look func() bool) error {
	for {
		g.mu.Lock()
		done, changed := look(), g.changed
		g.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lastLeaf returns the offset at which the last leaf begins.
func (g *growing) lastLeaf() int64 { return g.table.Start(len(g.table.Leaves) - 1) }

// presentTo returns the end, at most to, of the present bytes that begin at from. It must
// be called with mu held.
func (g *growing) presentTo(from, to int64) int64 {
	if from >= to {
		return from
	}
	i, j := g.table.Span(from, to)
	if i < g.prefix {
		i = g.prefix
		from = min(to, g.table.Start(i))
	}
	for ; i < j && g.leaves[i] == present; i++ {
		from = min(to, g.table.Leaves[i].End)
	}
	return from
}

// far is how many bytes before a reader's offset a stream must be for its bytes to come
// soon.
const far = 8 << 20

// isAhead reports whether an offset is more than far bytes behind the end of an ordered
// file, so that a reader would wait for everything before it.
func (g *growing) isAhead(at int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ordered && g.phase == fetching && at-g.table.Start(min(g.prefix, len(g.leaves)-1)) > far
}

// lend reports whether a reader that reads up to an offset may read the file to its end.
// If so, the reader calls takeBack afterwards.
func (g *growing) lend(version int, to int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to < g.table.Size() || version != g.version || !g.ordered && g.phase != complete {
		return false
	}
	g.lent++
	return true
}

func (g *growing) takeBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lent--
}

// keepBack reports whether bytes of the last leaf must not be written yet, and keeps
// them in that case. The bytes begin at an offset of the file.
func (g *growing) keepBack(b []byte, at int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch begins := at == g.lastLeaf(); {
	case begins && g.ordered:
		g.tail = append([]byte(nil), b...)
	case begins || len(g.tail) == 0:
		g.tail = nil
		return false
	default: // the beginning of the leaf was kept back
		g.tail = append(g.tail, b...)
	}
	return true
}

// heldTail returns the last leaf if it is held.
func (g *growing) heldTail() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leaves[len(g.leaves)-1] != held {
		return nil
	}
	return g.tail
}
