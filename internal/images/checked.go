package images

import (
	"context"
	"errors"
	"io/fs"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// checked is a source that reads only what the lists allow, by its path and by the CIDs
// of the content and of the directories on the way: any root may link to denied content.
type checked struct {
	Source
	lists *denylist.Lists
	query Query
}

// ReadFile implements layout.Tree. It reads before it checks: from a gateway, the file
// comes with the blocks that lead to it, so that the check needs no request of its own.
func (c checked) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	data, err := c.Source.ReadFile(ctx, root, path, limit)
	if _, refused := c.check(ctx, layout.Place{Root: root, Path: path}); refused != nil {
		return nil, refused
	}
	return data, err
}

// ReadDir implements layout.Tree.
func (c checked) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	root, path, err := c.resolve(ctx, layout.Place{Root: root, Path: path})
	if err != nil {
		return nil, err
	}
	return c.Source.ReadDir(ctx, root, path)
}

// resolve returns where what is at a place can be read in one step, if the lists
// allow it. Without lists that is the place itself.
func (c checked) resolve(ctx context.Context, at layout.Place) (cid.Cid, string, error) {
	if c.lists == nil {
		return at.Root, at.Path, nil
	}
	trail, err := c.check(ctx, at)
	if err != nil {
		return cid.Undef, "", err
	}
	if len(trail) == 0 {
		return at.Root, "", nil
	}
	return trail[len(trail)-1], "", nil
}

// check returns the trail of a place, or why the lists refuse it. If the place does not
// exist, check checks the image's directory, so that no answer says what a denied directory
// lacks.
func (c checked) check(ctx context.Context, at layout.Place) ([]cid.Cid, error) {
	if c.lists == nil {
		return nil, nil
	}
	trail, err := c.Trail(ctx, at.Root, at.Path)
	if errors.Is(err, fs.ErrNotExist) && at != c.query.Image.Place() {
		if denied := c.checkImage(ctx); classOf(denied) == Denied {
			return nil, denied
		}
	}
	if err != nil {
		return nil, err
	}
	path, resolved := at.Path, trail
	if !at.Root.Equals(c.query.Image.Root) { // no path below the image's root leads there
		path, resolved = c.query.path(), append([]cid.Cid{at.Root}, trail...)
	}
	return trail, c.query.checkLists(c.lists, path, resolved...)
}

// checkImage checks the directory of the image itself.
func (c checked) checkImage(ctx context.Context) error {
	_, err := c.check(ctx, c.query.Image.Place())
	return err
}
