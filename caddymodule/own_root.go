package caddymodule

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An ownRoot takes care of the store's own root while a configuration runs.
type ownRoot struct {
	*store.Root
	repositories *repository.Repositories // nil if clients cannot push
	keep, ttl    caddy.Duration           // as configured, 0 for the value that the store remembers
	configured   context.Context          // done when another configuration replaces this one
	logger       *zap.Logger
}

// whenRunning makes Caddy call o.Handle once the configuration runs. Caddy also provisions
// configurations that it only validates, perhaps as another user; these must not change the
// store.
func (o *ownRoot) whenRunning(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	return app.(*caddyevents.App).On("started", o)
}

// Handle implements caddyevents.Handler.
func (o *ownRoot) Handle(context.Context, caddy.Event) error {
	go o.tend()
	return nil
}

// tend takes care of the root until the configuration is replaced.
func (o *ownRoot) tend() {
	o.begin()
	ticker := time.NewTicker(tendedEvery)
	defer ticker.Stop()
	for {
		o.tidy()
		select {
		case <-o.configured.Done():
			return
		case <-ticker.C:
		}
	}
}

// tendedEvery is how often tend renews the record and removes uploads and blobs that no
// client wants any more.
const tendedEvery = time.Hour

// begin writes the options that every process obeys to the store. With push, it makes the
// root's key if there is none. It logs the root's IPNS name.
func (o *ownRoot) begin() {
	if err := o.remember(); err != nil {
		o.logger.Error("the options of the store's own root cannot be stored", zap.Error(err))
	}
	if o.repositories != nil {
		if _, err := o.EnsureKey(o.configured); err != nil && o.configured.Err() == nil {
			o.logger.Error("the store's own root has no IPNS name", zap.Error(err))
			return
		}
	}
	if name, ok := o.Name(); ok {
		o.logger.Info("the store's own root has an IPNS name", zap.String("name", name))
	}
}

func (o *ownRoot) remember() error {
	if o.keep != 0 {
		if err := o.SetKeep(max(0, time.Duration(o.keep))); err != nil {
			return err
		}
	}
	if o.ttl == 0 {
		return nil
	}
	return o.SetTTL(time.Duration(o.ttl))
}

func (o *ownRoot) tidy() {
	if err := o.Renew(o.configured); err != nil && o.configured.Err() == nil {
		o.logger.Error("the IPNS record of the store's own root cannot be renewed", zap.Error(err))
	}
	if o.repositories == nil {
		return
	}
	if err := o.repositories.RemoveStale(o.configured); err != nil && o.configured.Err() == nil {
		o.logger.Error("uploads that nobody continues cannot be removed", zap.Error(err))
	}
}

// Interface guard
var _ caddyevents.Handler = (*ownRoot)(nil)
