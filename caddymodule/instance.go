package caddymodule

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An instance has the parts of a provisioned handler that metrics and the admin API use.
type instance struct {
	lists   *denylist.Lists // nil if there are no lists
	stores  []*store.Store
	pool    *gateway.Pool // nil if there are no gateways
	cache   *siteCache    // nil if there is no cache
	library *images.Library
	memory  int64 // configured for the process in bytes, 0 for the default
}

// minMemory is the least memory that can be configured: some manifests and leaf tables.
const minMemory = 16 << 20

// running are the configured instances, oldest first. While one configuration replaces
// another, it has the instances of both. A stopped instance still finishes its requests.
var running struct {
	sync.Mutex
	instances []*instance
}

func (i *instance) start() {
	running.Lock()
	defer running.Unlock()
	running.instances = append(running.instances, i)
	limitMemory()
}

// limitMemory sets the budget of the process to the least that a running instance has
// configured. It must be called with running locked.
func limitMemory() {
	var limit int64
	for _, i := range running.instances {
		if i.memory > 0 && (limit == 0 || i.memory < limit) {
			limit = i.memory
		}
	}
	budget.Process().SetLimit(cmp.Or(limit, budget.DefaultLimit()))
}

// stop releases what the instance holds. It may be called on an instance that was never
// started.
func (i *instance) stop() error {
	running.Lock()
	running.instances = slices.DeleteFunc(running.instances, func(other *instance) bool { return other == i })
	limitMemory()
	for _, other := range running.instances {
		if i.cache != nil && i.cache.isShared(other.cache) {
			other.cache.configure() // ours may have been refused
		}
	}
	running.Unlock()
	if i.cache == nil {
		return nil
	}
	return i.cache.release() // may take as long as writing a blob
}

// runningInstances returns a copy of the running instances.
func runningInstances() []*instance {
	running.Lock()
	defer running.Unlock()
	return slices.Clone(running.instances)
}

// runningStores returns the stores of all running instances, each once.
func runningStores() []*store.Store {
	var stores []*store.Store
	for _, i := range runningInstances() {
		for _, s := range i.stores {
			if !slices.ContainsFunc(stores, func(other *store.Store) bool { return other.Dir() == s.Dir() }) {
				stores = append(stores, s)
			}
		}
	}
	return stores
}

// newAttempts returns the observer of a configuration's gateways.
func newAttempts(ctx caddy.Context) (attempts, error) {
	app, err := ctx.App("events")
	if err != nil {
		return attempts{}, fmt.Errorf("getting the events app: %w", err)
	}
	return attempts{ctx, app.(*caddyevents.App)}, nil
}

// newPool returns the pool of the configured gateways, or nil if there are none.
func newPool(groups []gateway.Group, a attempts) *gateway.Pool {
	if len(groups) == 0 {
		return nil
	}
	p := gateway.NewPool(gateway.Config{Groups: groups, Observer: a.begin})
	for _, s := range p.States() { // so that their series exist from the start
		metrics.verificationFailures.WithLabelValues(s.Gateway)
		metrics.gatewayLatency.WithLabelValues(s.Gateway)
	}
	return p
}
