package fill

import (
	"context"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A growing is the file of a blob while its leaves arrive, in whatever order.
type growing struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when anything below changes
	phase   phase
	err     error // in phase over

	table  *unixfs.Table // nil while finding
	leaves []state
	prefix int // leaves at the beginning that are present

	// open opens the file for a reader, who calls done after closing it. version
	// changes when that is another file than before.
	open    func() (f *os.File, done func(), err error)
	version int

	// While ordered, the file grows from its beginning to its end, and a reader of
	// the rest may be given the file as it is, since it ends where the present
	// leaves end. The last leaf is held in tail until the digest is known.
	ordered bool
	lent    int // readers that have been given the file
	tail    []byte

	digest digest.Digest // in phase complete
}

// A phase is how far a fill is.
type phase int

const (
	finding   phase = iota // what the file is
	moved                  // to the fill that has the same file
	fetching               // into a file of the cache
	following              // another process that is fetching
	complete               // all leaves are present, and the digest is known
	over                   // nothing more will come
)

// A state says where a leaf is.
type state byte

const (
	missing state = iota
	nearby        // in another blob, and about to be copied
	held          // in tail
	present
)

// begin begins the file, in a phase.
func (g *growing) begin(p phase, t *unixfs.Table, open func() (*os.File, func(), error)) {
	if g.table == nil { // else it is the same: readers have it, and read it without mu
		g.table = t
	}
	g.phase, g.leaves, g.prefix = p, make([]state, len(t.Leaves)), 0
	g.open, g.version = open, g.version+1
	g.broadcast()
}

// complete has all leaves present, of a blob with a known digest. It must be called
// with mu held.
func (g *growing) completeAs(d digest.Digest) {
	for i := range g.leaves {
		g.leaves[i] = present
	}
	g.phase, g.digest, g.prefix = complete, d, len(g.leaves)
	g.broadcast()
}

// arrived notes that a leaf is present. It must be called with mu held, and is
// followed by broadcast.
func (g *growing) arrived(i int) {
	g.leaves[i] = present
	for g.prefix < len(g.leaves) && g.leaves[g.prefix] == present {
		g.prefix++
	}
}

// broadcast wakes all who wait for a change. It must be called with mu held.
func (g *growing) broadcast() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// finish ends the file with the reason why nothing more will come, unless it ended
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

// presentTo returns how far the bytes from an offset are present. It must be called
// with mu held.
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

// far is how many bytes ahead of a stream a part does not come soon.
const far = 8 << 20

// isAhead reports whether an offset is further than far bytes ahead of an ordered
// file, so that a reader there would wait for everything before it.
func (g *growing) isAhead(at int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ordered && g.phase == fetching && at-g.table.Start(min(g.prefix, len(g.leaves)-1)) > far
}

// lend reports whether a reader of all up to an offset may be given the file as it is.
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

// keepBack takes bytes of the last leaf that begin at an offset, and reports whether
// they must not be written yet.
func (g *growing) keepBack(b []byte, at int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch begins := at == g.lastLeaf(); {
	case begins && g.ordered:
		g.tail = append([]byte(nil), b...)
	case begins || len(g.tail) == 0:
		g.tail = nil
		return false
	default: // of a leaf whose beginning was kept back
		g.tail = append(g.tail, b...)
	}
	return true
}

// heldTail returns what was kept back.
func (g *growing) heldTail() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leaves[len(g.leaves)-1] != held {
		return nil
	}
	return g.tail
}
