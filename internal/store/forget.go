package store

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Forget removes what the cache has of everything below a root, though others may
// have it below theirs: it can be fetched again. What is kept stays.
func (s *Store) Forget(ctx context.Context, root cid.Cid) (Collected, error) {
	var gone Collected
	seen, todo := cid.NewSet(), []cid.Cid{root}
	for len(todo) > 0 && ctx.Err() == nil {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen.Visit(c) {
			continue
		}
		if data, err := s.node(ctx, c); err == nil {
			below, _, _ := unixfs.Children(unixfs.Block{CID: c, Data: data}) // none of what makes no sense
			for _, child := range below {
				todo = append(todo, child.CID)
			}
		}
		paths := []string{s.cached.nodePath(c)}
		if d, _, err := s.cached.file(c); err == nil {
			paths = append(paths, s.cached.filePath(c), s.cached.blobPath(d))
		}
		for _, path := range paths {
			if err := gone.remove(path); err != nil {
				return gone, err
			}
		}
	}
	return gone, context.Cause(ctx)
}

// remove removes a file, if it is there.
func (c *Collected) remove(path string) error {
	info, err := os.Lstat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c.Files++
	c.Bytes += info.Size()
	return nil
}
