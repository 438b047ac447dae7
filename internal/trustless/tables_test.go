package trustless

import (
	"bytes"
	"errors"
	"net/url"
	"sync"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A slowSink takes nothing after its first bytes until it may.
type slowSink struct {
	sink
	began, may chan struct{}
	begin      func()
}

func newSlowSink(may chan struct{}) *slowSink {
	s := &slowSink{began: make(chan struct{}), may: may}
	s.begin = sync.OnceFunc(func() { close(s.began) })
	return s
}

func (s *slowSink) Write(b []byte) (int, error) {
	s.begin()
	<-s.may
	return s.sink.Write(b)
}

// Clients that read large files slowly hold no more memory for leaf tables than the budget
// has. Those for whose table there is no room get their file all the same.
func TestLeafTablesOfSlowClientsHaveOneBudget(t *testing.T) {
	const files, leaves = 6, 2000
	var pubs []*published
	var groups []gateway.Group
	for i := range files {
		pubs = append(pubs, publishOf(t, unixfs.V1, leaves*200+i, 1))
		groups = append(groups, gateway.Group{Upstreams: []*url.URL{upstream(i)}, Transport: pubs[i].fake()})
	}
	tables := budget.New(3 * 3 / 2 * leaves * leafMemory)
	s := Session{Client: NewClient(Config{Pool: gateway.NewPool(gateway.Config{Groups: groups}), Tables: tables})}
	may, withTable := make(chan struct{}), 0
	var all sync.WaitGroup
	for _, pub := range pubs {
		k := newSlowSink(may)
		all.Go(func() {
			if err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, k); err != nil || !bytes.Equal(k.Bytes(), pub.blob) {
				t.Errorf("%d bytes of %d, %v", k.Len(), len(pub.blob), err)
			}
		})
		<-k.began
		if k.file.Table != nil {
			withTable++
		}
	}
	if withTable == 0 || withTable == files || tables.Held() < int64(withTable)*leaves*leafMemory {
		t.Errorf("%d of %d files are copied with a table at the same time, and %d bytes are held", withTable, files, tables.Held())
	}
	close(may)
	all.Wait()
	if n := tables.Held(); n != 0 {
		t.Errorf("%d bytes are held after all copies have ended", n)
	}
}

// A table counts once, however many use it.
func TestTableInUseCountsOnce(t *testing.T) {
	table := &unixfs.Table{Leaves: make([]unixfs.Leaf, 3000)}
	c := NewClient(Config{Tables: budget.New(memoryOf(3000))})
	first, ok := c.UseTable(table)
	second, again := c.UseTable(table)
	if !ok || !again {
		t.Fatal("there is room for one table")
	}
	if _, ok := c.UseTable(&unixfs.Table{Leaves: make([]unixfs.Leaf, 3000)}); ok {
		t.Error("there is room for two")
	}
	first()
	first() // does nothing
	if n := c.tables.budget.Held(); n != memoryOf(3000) {
		t.Errorf("%d bytes are held for a table that is still used", n)
	}
	second()
	if n := c.tables.budget.Held(); n != 0 {
		t.Errorf("%d bytes are held for a table that is no longer used", n)
	}
}

// A file whose table does not fit now is looked up again later.
func TestFileWithoutRoomForItsTableIsNotRemembered(t *testing.T) {
	pub := publishOf(t, unixfs.V1, 2000*200, 1)
	s := session(pub)
	s.tables.budget = budget.New(1000 * leafMemory)
	place := pub.at("app/blobs/b")
	if f, err := s.Resolve(t.Context(), place); err != nil || f.Table != nil {
		t.Errorf("without room for it, the table is %v, %v", f.Table != nil, err)
	}
	if n := s.tables.budget.Held(); n != 0 {
		t.Errorf("%d bytes are held for a table that was not kept", n)
	}
	s.tables.budget.SetLimit(1 << 20)
	if f, err := s.Resolve(t.Context(), place); err != nil || f.Table == nil {
		t.Errorf("with room for it, the table is %v, %v", f.Table != nil, err)
	}
}

// What a failed attempt read counts no longer when the next one begins.
func TestFailedAttemptsHoldNoMemory(t *testing.T) {
	pub := publish(t, unixfs.V1)
	s := session(pub)
	s.budget = budget.New(1 << 20)
	broken := errors.New("broken")
	_, err := read(t.Context(), s, pub.at("app"), scopeBlock, maxPath, func(get unixfs.Getter) (int, error) {
		if _, err := get(t.Context(), pub.root); err != nil {
			return 0, err
		}
		if s.budget.Held() == 0 {
			t.Error("a block that is read holds no memory")
		}
		return 0, broken
	})
	if !errors.Is(err, broken) || s.budget.Held() != 0 {
		t.Errorf("after %v, %d bytes are held", err, s.budget.Held())
	}
}
