package gateway

import (
	"strings"
	"sync"
	"time"
)

// maxMarks bounds the memory for marks, since any client can cause them.
const maxMarks = 1024

// marks remember for a Penalty which gateway failed with which path, and which gateway
// lacked what another one had below which root. The zero value is ready for use.
type marks struct {
	mu    sync.Mutex
	until map[mark]time.Time
}

type mark struct {
	gateway *gateway
	path    string
}

// rootOf returns the part of a path that ends with its first CID or name: of
// "ipfs/<cid>/a/b", that is "ipfs/<cid>/".
func rootOf(path string) string {
	namespace, rest, _ := strings.Cut(path, "/")
	root, _, _ := strings.Cut(rest, "/")
	return namespace + "/" + root + "/"
}

func (m *marks) has(g *gateway, path string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.until[mark{g, path}])
}

func (m *marks) add(g *gateway, path string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.until == nil {
		m.until = map[mark]time.Time{}
	}
	if len(m.until) >= maxMarks {
		m.makeRoom(now)
	}
	m.until[mark{g, path}] = now.Add(Penalty)
}

// makeRoom removes the marks that have expired, or any one if none has. It must be
// called with mu held.
func (m *marks) makeRoom(now time.Time) {
	for k, until := range m.until {
		if !now.Before(until) {
			delete(m.until, k)
		}
	}
	for k := range m.until {
		if len(m.until) < maxMarks {
			return
		}
		delete(m.until, k)
	}
}
