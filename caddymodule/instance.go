package caddymodule

import (
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An instance is what a provisioned handler consists of, as far as it is seen from
// outside: by metrics and by the admin API.
type instance struct {
	lists   *denylist.Lists // nil if all may be served
	stores  []*store.Store
	pool    *gateway.Pool // nil if there are no gateways
	cache   *siteCache    // nil if nothing is kept
	library *images.Library
}

// running are the instances that are configured now, in the order in which they came.
// While a configuration takes the place of another, those of both are. An instance
// that is not running any more still answers the requests that it has.
var running struct {
	sync.Mutex
	instances []*instance
}

func (i *instance) start() {
	running.Lock()
	defer running.Unlock()
	running.instances = append(running.instances, i)
}

// stop is called when the configuration is not in use any more, whether or not the
// instance was started.
func (i *instance) stop() error {
	running.Lock()
	running.instances = slices.DeleteFunc(running.instances, func(other *instance) bool { return other == i })
	for _, other := range running.instances {
		if i.cache != nil && i.cache.isShared(other.cache) {
			other.cache.configure() // ours may have been refused
		}
	}
	running.Unlock()
	if i.cache == nil {
		return nil
	}
	return i.cache.release() // which may take as long as writing a blob does
}

// runningInstances are those that run at the moment.
func runningInstances() []*instance {
	running.Lock()
	defer running.Unlock()
	return slices.Clone(running.instances)
}

// runningStores are the stores of all instances that run, each once.
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

// newPool returns the pool of the configured gateways, nil if there are none.
func newPool(groups []gateway.Group, a attempts) *gateway.Pool {
	if len(groups) == 0 {
		return nil
	}
	p := gateway.NewPool(gateway.Config{Groups: groups, Observer: a.begin})
	for _, s := range p.States() { // so that they are seen before anything happens
		metrics.verificationFailures.WithLabelValues(s.Gateway)
		metrics.gatewayLatency.WithLabelValues(s.Gateway)
	}
	return p
}
