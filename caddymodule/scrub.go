package caddymodule

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Disks forget, seldom. So a store that is in use is read once a week, so slowly
// that nobody notices.
const (
	scrubFirst = time.Hour
	scrubAgain = 7 * 24 * time.Hour
	scrubRate  = 4 << 20 // bytes a second
)

// scrub takes what rotted out of service, until ctx is done.
func scrub(ctx context.Context, s *store.Store, logger *zap.Logger) {
	timer := time.NewTimer(scrubFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.Scrub(ctx, store.Scrub{
			Kept:   true,
			Cached: true,
			Read:   func(n int) error { return pause(ctx, time.Duration(n)*time.Second/scrubRate) },
			Found: func(path string, err error) {
				logger.Error("a file of the store has rotted", zap.String("file", path), zap.Bool("in_service", err != nil), zap.Error(err))
			},
		})
		if err != nil && ctx.Err() == nil {
			logger.Error("scrubbing the store", zap.String("store", s.Dir()), zap.Error(err))
		}
		timer.Reset(scrubAgain)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
