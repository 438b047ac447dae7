package trustless

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	nodesAtOnce  = 8        // requests for nodes of one file
	maxNodes     = 1 << 14  // of a file
	maxNodeBytes = 64 << 20 // of all of them
	maxNodeDepth = 8        // between a file's root and its leaves
)

// A nodeFetcher makes sure that the nodes of a file above its leaves are at hand,
// those of one level at the same time, and each once.
type nodeFetcher struct {
	Session
	seen  *cid.Set
	bytes atomic.Int64
}

// fetchNodes fetches the nodes below root, which is at hand.
func (s Session) fetchNodes(ctx context.Context, root cid.Cid) error {
	f := &nodeFetcher{Session: s, seen: cid.NewSet()}
	level := []cid.Cid{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxNodeDepth {
			return fmt.Errorf("file %s has more than %d nodes above one another", root, maxNodeDepth)
		}
		below, err := f.level(ctx, level)
		if err != nil {
			return err
		}
		if level = f.unseen(below); f.seen.Len() > maxNodes {
			return fmt.Errorf("file %s has more than %d nodes", root, maxNodes)
		}
	}
	return nil
}

// level fetches nodes, and returns those below each.
func (f *nodeFetcher) level(ctx context.Context, level []cid.Cid) ([][]cid.Cid, error) {
	below := make([][]cid.Cid, len(level))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(nodesAtOnce)
	for i, c := range level {
		group.Go(func() (err error) {
			defer recovered(&err)
			data, err := f.raw(ctx, c)
			if err != nil {
				return err
			}
			if f.bytes.Add(int64(len(data))) > maxNodeBytes {
				return fmt.Errorf("a file with more than %d bytes of nodes", maxNodeBytes)
			}
			below[i], err = unixfs.InnerNodes(unixfs.Block{CID: c, Data: data})
			return err
		})
	}
	return below, group.Wait()
}

// unseen returns those that are new, each once, and not many more than there may
// be.
func (f *nodeFetcher) unseen(below [][]cid.Cid) []cid.Cid {
	var all []cid.Cid
	for _, cids := range below {
		for _, c := range cids {
			if f.seen.Len() <= maxNodes && f.seen.Visit(c) {
				all = append(all, c)
			}
		}
	}
	return all
}

// recovered makes an error of a panic. What decodes hostile bytes should not
// panic, and if it does, that is no reason for a server to end.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}
