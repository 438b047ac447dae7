package caddymodule

import (
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// running are the handlers that are configured now, in the order in which they
// came. While a configuration takes the place of another, those of both are.
// Requests that a handler has then go on; it only is not seen any more by who
// looks from the outside: metrics and the admin API.
var running struct {
	sync.Mutex
	handlers []*Handler
}

// start is the end of provisioning: from here on, what the handler does is seen.
func (h *Handler) start(ctx caddy.Context) error {
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	h.ctx, h.events = ctx, events.(*caddyevents.App)
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if h.pool != nil {
		h.pool.Observer = h.attempt
		showGateways(h.pool)
	}
	running.Lock()
	defer running.Unlock()
	running.handlers = append(running.handlers, h)
	return nil
}

// Cleanup is called when the configuration is not in use any more, whether or not
// the handler was started.
func (h *Handler) Cleanup() error {
	running.Lock()
	defer running.Unlock()
	running.handlers = slices.DeleteFunc(running.handlers, func(other *Handler) bool { return other == h })
	for _, other := range running.handlers {
		if other.cached != nil && other.cached == h.cached {
			other.configureCache() // our configuration may have been refused
		}
	}
	return h.releaseCache()
}

// release closes the connections that an answer has left idle after the
// configuration was no longer in use, when nobody will want them again.
func (h *Handler) release() {
	if h.ctx.Err() == nil {
		return
	}
	for _, g := range h.Gateways {
		g.transport.CloseIdleConnections()
	}
}

// runningHandlers are those that run at the moment.
func runningHandlers() []*Handler {
	running.Lock()
	defer running.Unlock()
	return slices.Clone(running.handlers)
}

// Interface guard
var _ caddy.CleanerUpper = (*Handler)(nil)
