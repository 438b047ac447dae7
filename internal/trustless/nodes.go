package trustless

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	nodesAtOnce  = 8       // requests for nodes of one file
	maxNodes     = 1 << 14 // of a file
	maxNodeDepth = 8       // between a file's root and its leaves
)

// fetchNodes makes sure that the nodes of a file above its leaves are at hand,
// of which the root is: those of one level at the same time.
func (s Session) fetchNodes(ctx context.Context, root cid.Cid) error {
	level := []cid.Cid{root}
	nodes := 0
	for depth := 0; len(level) > 0; depth++ {
		if nodes += len(level); nodes > maxNodes || depth > maxNodeDepth {
			return fmt.Errorf("file %s has more than %d nodes, or %d above one another", root, maxNodes, maxNodeDepth)
		}
		below, err := s.fetchLevel(ctx, level)
		if err != nil {
			return err
		}
		level = below
	}
	return nil
}

// fetchLevel fetches nodes, and returns those below them.
func (s Session) fetchLevel(ctx context.Context, level []cid.Cid) ([]cid.Cid, error) {
	below := make([][]cid.Cid, len(level))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(nodesAtOnce)
	for i, c := range level {
		group.Go(func() error {
			data, err := s.raw(ctx, c)
			if err != nil {
				return err
			}
			below[i], err = unixfs.InnerNodes(unixfs.Block{CID: c, Data: data})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []cid.Cid
	for _, cids := range below {
		all = append(all, cids...)
	}
	return all, nil
}
