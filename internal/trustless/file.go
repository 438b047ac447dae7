package trustless

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Stat returns the number of bytes of the file at a place.
func (s Session) Stat(ctx context.Context, at ipfspath.Place) (int64, error) {
	ctx, giveBack := context.WithCancel(ctx) // the memory of what is read
	defer giveBack()
	first, err := s.firstBlock(ctx, at)
	if err != nil {
		return 0, err
	}
	return unixfs.FileSize(first)
}

// Resolve returns the file at a place, as its nodes state it. Requests for the same place
// share one look-up, and the result is remembered.
func (s Session) Resolve(ctx context.Context, at ipfspath.Place) (*File, error) {
	key := fileKey(at)
	if known, ok := s.files.Get(key); ok {
		return known, nil
	}
	defer budget.Away(ctx)() // the look-up may need the turn
	return s.lookups.Do(ctx, key, func(ctx context.Context) (*File, error) {
		f, err := s.find(ctx, at)
		if err == nil && !f.isCrowded {
			s.files.Add(key, f)
		}
		return f, err
	})
}

// isResolved reports whether the result of Resolve is remembered.
func (s Session) isResolved(at ipfspath.Place) bool {
	_, known := s.files.Get(fileKey(at))
	return known
}

// IsKnown reports whether Resolve needs no gateway.
func (s Session) IsKnown(ctx context.Context, at ipfspath.Place) bool {
	if s.isResolved(at) {
		return true
	}
	c, err := unixfs.Walk(ctx, s.known, at.Root, at.Path)
	if err != nil {
		return !isUnavailable(err)
	}
	room := s.tables.room()
	defer room.giveBack()
	_, err = unixfs.ReadTable(ctx, s.known, c, maxLeaves, room.grow)
	return !isUnavailable(err)
}

func (s Session) find(ctx context.Context, at ipfspath.Place) (*File, error) {
	first, err := s.firstBlock(ctx, at)
	if err != nil {
		return nil, err
	}
	return s.fileOf(ctx, first)
}

// fileOf returns the file that begins with a block.
func (s Session) fileOf(ctx context.Context, first unixfs.Block) (*File, error) {
	size, err := unixfs.FileSize(first)
	if err != nil {
		return nil, err
	}
	table, err := s.table(ctx, first, size)
	isCrowded := errors.Is(err, errCrowded)
	if err != nil && !isCrowded && !errors.Is(err, unixfs.ErrShape) {
		return nil, err
	}
	return &File{CID: first.CID, Size: size, Table: table, isCrowded: isCrowded}, nil
}

// maxLeaves bounds the memory for one table to 10 MiB. A file with more leaves is
// streamed without a table.
const maxLeaves = 1 << 18

// table returns the leaves of a file of size bytes, given its first block. A file of one
// block has no table if the block has metadata, such as a modification time.
func (s Session) table(ctx context.Context, first unixfs.Block, size int64) (*unixfs.Table, error) {
	if err := s.fetchNodes(ctx, first.CID, size); err != nil {
		return nil, err
	}
	room := s.tables.room()
	defer room.giveBack()
	t, err := unixfs.ReadTable(ctx, s.Block, first.CID, maxLeaves, room.grow)
	if err != nil {
		return nil, err
	}
	if len(t.Leaves) == 1 && t.CID(0).Equals(first.CID) {
		if data, err := unixfs.SmallFile(first); err != nil || !t.Verify(0, data) {
			return nil, unixfs.ErrShape
		}
	}
	return t, nil
}

const (
	nodesAtOnce  = 8       // requests for nodes of one file
	maxNodes     = 1 << 12 // of a file
	maxNodeDepth = 8       // between a file's root and its leaves

	// The bytes of a file's nodes are bounded by a part of its size.
	freeNodeBytes = 8 << 20
	maxNodeBytes  = 64 << 20
	nodeShare     = 10 // one tenth
)

// A nodeFetcher fetches the nodes of a file above its leaves, each once, and those of a
// level at the same time.
type nodeFetcher struct {
	Session
	seen *cid.Set
	left atomic.Int64 // bytes of nodes
}

// fetchNodes fetches the nodes of a file of size bytes.
func (s Session) fetchNodes(ctx context.Context, root cid.Cid, size int64) error {
	f := &nodeFetcher{Session: s, seen: cid.NewSet()}
	f.left.Store(min(freeNodeBytes+size/nodeShare, maxNodeBytes))
	level := []cid.Cid{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxNodeDepth {
			return fmt.Errorf("file %s has more than %d levels of nodes", root, maxNodeDepth)
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

// fetchLevel fetches the nodes of a level, and returns the nodes below each.
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
			if f.left.Add(-int64(len(data))) < 0 {
				return errors.New("a file with more bytes of nodes than an image may have")
			}
			below[i], err = unixfs.InnerNodes(unixfs.Block{CID: c, Data: data})
			return err
		})
	}
	return below, group.Wait()
}

// unseen returns the new nodes, each once. It stops at one more than a file may have.
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
