package names

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxNames bounds the names that are remembered, since anybody can make names.
	maxNames = 4096

	// maxInUse bounds the names in use among them.
	maxInUse = maxNames * 3 / 4

	// idleTime is how long a name counts as in use after its last use.
	idleTime = 7 * 24 * time.Hour
)

// A memory holds a value for each of maxNames names. A name is in use if it is
// configured, or if it was requested again after its value was set and within idleTime.
// Other names are removed in the order of their use, and no number of them removes a
// name in use. The methods may be called concurrently.
type memory[V any] struct {
	isConfigured func(Name) bool
	noteInUse    func(Name) // called once for each name in use; may be nil

	mu           sync.Mutex
	once         *simplelru.LRU[Name, *remembered[V]]
	inUse        map[Name]*remembered[V]
	lastSearched time.Time // for idle names, in vain
}

type remembered[V any] struct {
	value V
	last  time.Time // of the last use
}

func newMemory[V any](isConfigured func(Name) bool, noteInUse func(Name)) *memory[V] {
	once, err := simplelru.NewLRU[Name, *remembered[V]](maxNames-maxInUse, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &memory[V]{isConfigured: isConfigured, noteInUse: noteInUse, once: once, inUse: map[Name]*remembered[V]{}}
}

// get returns the value of a name.
func (m *memory[V]) get(n Name) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.find(n); r != nil {
		return r.value, true
	}
	return value, false
}

// use is get for a request of the name.
func (m *memory[V]) use(n Name) (value V, ok bool) {
	m.mu.Lock()
	r := m.find(n)
	if r == nil {
		m.mu.Unlock()
		return value, false
	}
	value = r.value
	r.last = time.Now()
	isNew := m.keep(n, r)
	m.mu.Unlock()
	if isNew && m.noteInUse != nil {
		m.noteInUse(n)
	}
	return value, true
}

// update remembers the value that change returns for the value before, if there is one,
// unless change returns false.
func (m *memory[V]) update(n Name, change func(before V, ok bool) (V, bool)) {
	m.mu.Lock()
	r, isNew := m.find(n), false
	if r == nil {
		var none V
		if value, ok := change(none, false); ok {
			r = &remembered[V]{value: value, last: time.Now()}
			m.once.Add(n, r)
			isNew = m.isConfigured(n) && m.keep(n, r)
		}
	} else if value, ok := change(r.value, true); ok {
		r.value = value
	}
	m.mu.Unlock()
	if isNew && m.noteInUse != nil {
		m.noteInUse(n)
	}
}

// set remembers a value.
func (m *memory[V]) set(n Name, value V) {
	m.update(n, func(V, bool) (V, bool) { return value, true })
}

func (m *memory[V]) remove(n Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.once.Remove(n)
	delete(m.inUse, n)
}

// isInUse reports whether a name is in use.
func (m *memory[V]) isInUse(n Name) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inUse[n] != nil
}

func (m *memory[V]) find(n Name) *remembered[V] {
	if r := m.inUse[n]; r != nil {
		return r
	}
	r, _ := m.once.Get(n)
	return r
}

// keep counts a name among those in use, and reports whether it was not yet one of
// them. It must be called with mu held.
func (m *memory[V]) keep(n Name, r *remembered[V]) bool {
	if m.inUse[n] != nil {
		return false
	}
	if len(m.inUse) >= maxInUse && !m.isConfigured(n) && !m.removeIdle() {
		return false
	}
	m.once.Remove(n)
	m.inUse[n] = r
	return true
}

// removeIdle removes a name that is no longer in use, if there is one. It may be called
// for each request, and searches at most once a minute. It must be called with mu held.
func (m *memory[V]) removeIdle() bool {
	now := time.Now()
	if now.Sub(m.lastSearched) < time.Minute {
		return false
	}
	for n, r := range m.inUse {
		if now.Sub(r.last) > idleTime && !m.isConfigured(n) {
			delete(m.inUse, n)
			return true
		}
	}
	m.lastSearched = now
	return false
}
