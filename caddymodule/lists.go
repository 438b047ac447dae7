package caddymodule

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
)

// listsInterval is how often list files are checked. A changed file takes effect within
// twice that time.
const listsInterval = 2 * time.Second

// openLists reads the deny and allow lists, and checks them for changes until ctx is
// done. It returns nil if there are none. Placeholders in the file names are replaced.
func openLists(ctx caddy.Context, deny, allow []string, logger *zap.Logger) (*denylist.Lists, error) {
	if len(deny) == 0 && len(allow) == 0 {
		return nil, nil
	}
	for _, files := range [][]string{deny, allow} {
		for i, file := range files {
			var err error
			if files[i], err = caddy.NewReplacer().ReplaceOrErr(file, true, true); err != nil {
				return nil, fmt.Errorf("invalid file '%s': %w", file, err)
			}
		}
	}
	lists, err := denylist.Open(deny, allow)
	if err != nil {
		return nil, err
	}
	logger.Info("deny and allow lists are in force", zap.Strings("deny", deny), zap.Strings("allow", allow))
	go lists.Watch(ctx, listsInterval, func(file string, rules int, err error) {
		if err != nil {
			logger.Error("list cannot be read, its old rules stay in force", zap.String("file", file), zap.Error(err))
			return
		}
		logger.Info("list has changed", zap.String("file", file), zap.Int("rules", rules))
	})
	return lists, nil
}
