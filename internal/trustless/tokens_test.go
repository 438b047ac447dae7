package trustless

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// countedNodes count writes, and keep nothing.
type countedNodes struct {
	mu     sync.Mutex
	writes int
}

func (n *countedNodes) Node(cid.Cid) ([]byte, bool) { return nil, false }

func (n *countedNodes) AddNode(unixfs.Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writes++
}

func TestDirectoryOfManyBlocksCostsFewWrites(t *testing.T) {
	pub := publishOf(t, unixfs.V1, 1000, 12000)
	synctest.Test(t, func(t *testing.T) {
		nodes := new(countedNodes)
		s := session(pub)
		s.Client = NewClient(Config{Pool: s.pool, Nodes: nodes})
		if entries, err := s.ReadDir(t.Context(), pub.root, "app/manifests"); err != nil || len(entries) != 12001 {
			t.Errorf("%d entries, %v", len(entries), err)
		}
		if nodes.writes != writesAtOnce {
			t.Errorf("%d writes", nodes.writes)
		}
		s.blocks.Clear()
		clocktest.Advance(time.Second)
		if _, err := s.ReadDir(t.Context(), pub.root, "app/manifests"); err != nil || nodes.writes != writesAtOnce+writesPerSecond {
			t.Errorf("%d writes a second later, %v", nodes.writes, err)
		}
	})
}
