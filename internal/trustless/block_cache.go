package trustless

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs/go-cid"
)

// maxCached is how many bytes of verified blocks are remembered.
const maxCached = 32 << 20

// A blockCache remembers verified blocks, directories and nodes of files, least
// recently used first to go. They never change.
type blockCache struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[string, []byte] // by multihash
	bytes int
}

func newBlockCache() *blockCache {
	c := new(blockCache)
	// Each block costs at least this much, so there are never more.
	lru, err := simplelru.NewLRU(maxCached/overhead, func(_ string, data []byte) { c.bytes -= len(data) + overhead })
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

// overhead is what remembering a block takes beside its bytes, about.
const overhead = 256

func (c *blockCache) get(address cid.Cid) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(string(address.Hash()))
}

func (c *blockCache) add(address cid.Cid, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(string(address.Hash())) {
		return
	}
	c.lru.Add(string(address.Hash()), data)
	c.bytes += len(data) + overhead
	for c.bytes > maxCached {
		c.lru.RemoveOldest()
	}
}
