package trustless

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Stat returns the number of bytes of the file at a place.
func (s Session) Stat(ctx context.Context, at ipfspath.Place) (int64, error) {
	first, err := s.firstBlock(ctx, at)
	if err != nil {
		return 0, err
	}
	return unixfs.FileSize(first)
}

// Resolve returns what the nodes of the file at a place say of it. Requests for
// the same place share one look-up, and the result is remembered.
func (s Session) Resolve(ctx context.Context, at ipfspath.Place) (*File, error) {
	key := fileKey(at)
	if known, ok := s.files.Get(key); ok {
		return known, nil
	}
	return s.lookups.Do(ctx, key, func(ctx context.Context) (*File, error) {
		f, err := s.find(ctx, at)
		if err == nil {
			s.files.Add(key, f)
		}
		return f, err
	})
}

// isResolved reports whether Resolve would return what is remembered.
func (s Session) isResolved(at ipfspath.Place) bool {
	_, known := s.files.Get(fileKey(at))
	return known
}

// IsKnown reports whether Resolve would ask no gateway.
func (s Session) IsKnown(ctx context.Context, at ipfspath.Place) bool {
	if s.isResolved(at) {
		return true
	}
	c, err := unixfs.Walk(ctx, s.known, at.Root, at.Path)
	if err != nil {
		return !isUnavailable(err)
	}
	_, err = unixfs.ReadFileUpTo(ctx, s.known, c, maxLeaves)
	return !isUnavailable(err)
}

func (s Session) find(ctx context.Context, at ipfspath.Place) (*File, error) {
	first, err := s.firstBlock(ctx, at)
	if err != nil {
		return nil, err
	}
	return s.fileOf(ctx, first)
}

// fileOf returns the file that a block is the first of.
func (s Session) fileOf(ctx context.Context, first unixfs.Block) (*File, error) {
	size, err := unixfs.FileSize(first)
	if err != nil {
		return nil, err
	}
	table, err := s.table(ctx, first)
	if err != nil && !errors.Is(err, unixfs.ErrShape) {
		return nil, err
	}
	return &File{CID: first.CID, Size: size, Table: table}, nil
}

// maxLeaves bounds the memory for one table to 10 MiB. A file with more leaves is
// streamed without a table.
const maxLeaves = 1 << 18

// table returns the leaves of a file, given its first block. A file that is one
// block has no table if the block says more than the file's bytes, such as their
// time.
func (s Session) table(ctx context.Context, first unixfs.Block) (*unixfs.Table, error) {
	if err := s.fetchNodes(ctx, first.CID); err != nil {
		return nil, err
	}
	f, err := unixfs.ReadFileUpTo(ctx, s.Block, first.CID, maxLeaves)
	if err != nil {
		return nil, err
	}
	if len(f.Nodes) == 0 {
		if data, err := unixfs.SmallFile(first); err != nil || !f.Table.Verify(0, data) {
			return nil, unixfs.ErrShape
		}
	}
	return f.Table, nil
}

const (
	nodesAtOnce  = 8        // requests for nodes of one file
	maxNodes     = 1 << 14  // of a file
	maxNodeBytes = 64 << 20 // of all of them
	maxNodeDepth = 8        // between a file's root and its leaves
)

// A nodeFetcher fetches the nodes of a file above its leaves, so that they are
// known: each once, and those of one level at the same time.
type nodeFetcher struct {
	Session
	seen  *cid.Set
	bytes atomic.Int64
}

// fetchNodes fetches the nodes below root.
func (s Session) fetchNodes(ctx context.Context, root cid.Cid) error {
	f := &nodeFetcher{Session: s, seen: cid.NewSet()}
	level := []cid.Cid{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxNodeDepth {
			return fmt.Errorf("file %s has more than %d nodes above one another", root, maxNodeDepth)
		}
		below, err := f.fetchLevel(ctx, level)
		if err != nil {
			return err
		}
		if level = f.unseen(below); f.seen.Len() > maxNodes {
			return fmt.Errorf("file %s has more than %d nodes", root, maxNodes)
		}
	}
	return nil
}

// fetchLevel fetches nodes, and returns the nodes below each.
func (f *nodeFetcher) fetchLevel(ctx context.Context, level []cid.Cid) ([][]cid.Cid, error) {
	below := make([][]cid.Cid, len(level))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(nodesAtOnce)
	for i, c := range level {
		group.Go(func() (err error) {
			defer recovered(&err)
			data, err := f.Block(ctx, c)
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

// unseen returns the nodes that are new, each once. It stops when there are more
// than a file may have.
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
