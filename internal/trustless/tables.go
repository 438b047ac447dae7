package trustless

import (
	"errors"
	"sync"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// tables are the leaf tables in use: those that are being read, and those that a copy holds
// for as long as its sink takes. Tables that are remembered only are bounded elsewhere.
type tables struct {
	budget *budget.Budget

	mu   sync.Mutex
	used map[*unixfs.Table]*usedTable
}

type usedTable struct {
	users   int
	release func()
}

const (
	// leafMemory is the number of bytes of a leaf in a table.
	leafMemory = 40

	// smallTable is the size of tables, in bytes, that are not counted.
	smallTable = 64 << 10
)

var errCrowded = errors.New("the leaf tables of other files take too much memory")

func memoryOf(leaves int) int64 { return int64(leaves) * leafMemory }

// UseTable takes the memory of a leaf table, which counts once however many use it, until
// release is called. It reports false if the tables in use leave no room for it.
func (c *Client) UseTable(t *unixfs.Table) (release func(), ok bool) { return c.tables.use(t) }

func (t *tables) use(table *unixfs.Table) (release func(), ok bool) {
	bytes := memoryOf(cap(table.Leaves))
	if bytes <= smallTable {
		return func() {}, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.used[table]
	if used == nil {
		release, ok := t.budget.TryTake(bytes)
		if !ok {
			return nil, false
		}
		used = &usedTable{release: release}
		if t.used == nil {
			t.used = map[*unixfs.Table]*usedTable{}
		}
		t.used[table] = used
	}
	used.users++
	return sync.OnceFunc(func() { t.leave(table) }), true
}

func (t *tables) leave(table *unixfs.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.used[table]
	if used.users--; used.users == 0 {
		used.release()
		delete(t.used, table)
	}
}

// A tableRoom is the memory of a table that is being read: for its leaves so far, and for
// the larger copy of them.
type tableRoom struct {
	budget *budget.Budget
	held   []func()
}

func (t *tables) room() *tableRoom { return &tableRoom{budget: t.budget} }

// grow is for unixfs.ReadTable. Its error is errCrowded.
func (r *tableRoom) grow(leaves int) error {
	if len(r.held) == 2 {
		r.held[0]() // the table was copied from there
		r.held = r.held[1:]
	}
	bytes := memoryOf(leaves)
	if bytes <= smallTable {
		return nil
	}
	release, ok := r.budget.TryTake(bytes)
	if !ok {
		return errCrowded
	}
	r.held = append(r.held, release)
	return nil
}

func (r *tableRoom) giveBack() {
	for _, release := range r.held {
		release()
	}
}
