package unixfs

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
)

// Tree builds the DAG of a directory tree from its files by slash-separated path, and
// passes the blocks of its directories to emit, children first.
func (p Profile) Tree(ctx context.Context, files map[string]Node, emit func(Block) error) (Node, error) {
	changes := make(map[string]*Node, len(files))
	for name, n := range files {
		changes[name] = &n
	}
	return p.Edit(ctx, nil, cid.Undef, changes, emit)
}

// Edit changes the directory tree below root and returns the new root. An undefined root
// is an empty tree.
//
// Each change has the slash-separated path of what it changes, and what is there from
// then on: the DAG of a file or of a whole directory. Nil removes what is there, and a
// path that does not exist is no error. A removed directory may have changes below it,
// which begin it anew; a put one may not. A directory that becomes empty is removed from
// its parent. A path below a file is an error, ErrNotDirectory.
//
// The result is what Tree makes of the same files, however the changes were ordered and
// grouped. Root must be the result of Tree or Edit with the same profile, or what `ipfs
// add` makes with its settings.
//
// Edit reads the nodes on the paths that change and passes new nodes to emit, children
// first. Only if the entries of a sharded directory become fewer or smaller, it reads more
// of that directory, up to the 256 KiB that tell whether it must still be sharded.
func (p Profile) Edit(ctx context.Context, get Getter, root cid.Cid, changes map[string]*Node, emit func(Block) error) (Node, error) {
	all := new(change)
	for _, path := range slices.Sorted(maps.Keys(changes)) {
		if err := all.add(path, changes[path]); err != nil {
			return Node{}, err
		}
	}
	e := editor{p, get, emit}
	n, err := e.directory(ctx, root, all)
	if err != nil || n.CID.Defined() {
		return n, err
	}
	return p.Directory(ctx, nil, emit)
}

// A change is what becomes of one entry of a directory: it is removed, put, or a
// directory with changes below. It may be removed first and then have changes below.
type change struct {
	removed bool
	put     *Node
	below   map[string]*change
}

// add adds the change of a path below. Paths come in order, so that a directory comes
// before what is in it.
func (c *change) add(path string, n *Node) error {
	if !fs.ValidPath(path) || path == "." {
		return fmt.Errorf("%.200q is not a path in a directory tree: use names other than . and .., with slashes between them", path)
	}
	if n != nil && !n.CID.Defined() {
		return fmt.Errorf("%.200q has no CID", path)
	}
	for name := range strings.SplitSeq(path, "/") {
		if c.put != nil {
			return fmt.Errorf("%.200q is below a path that is put as a whole: it is both a file and a directory", path)
		}
		if c.below == nil {
			c.below = map[string]*change{}
		}
		if c.below[name] == nil {
			c.below[name] = new(change)
		}
		c = c.below[name]
	}
	c.put, c.removed = n, n == nil
	return nil
}

type editor struct {
	p    Profile
	get  Getter
	emit func(Block) error
}

// directory changes the directory with a CID, or a new one if it is undefined. It returns
// the zero Node for a directory without entries, which is not written.
func (e editor) directory(ctx context.Context, dir cid.Cid, changes *change) (Node, error) {
	if ctx.Err() != nil {
		return Node{}, context.Cause(ctx)
	}
	d := e.p.newDirectory()
	if dir.Defined() {
		var err error
		if d, err = e.p.readDirectory(ctx, e.get, dir); err != nil {
			return Node{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changes.below)) {
		n, err := e.entry(ctx, d, name, changes.below[name])
		if err == nil {
			err = d.set(ctx, name, n)
		}
		if err != nil {
			return Node{}, fmt.Errorf("%.200s: %w", name, err)
		}
	}
	if d.isEmpty() {
		return Node{}, nil
	}
	return d.write(ctx, e.emit)
}

// entry returns what becomes of an entry, or the zero Node if it is removed.
func (e editor) entry(ctx context.Context, d *directory, name string, c *change) (Node, error) {
	if c.put != nil {
		return *c.put, nil
	}
	if c.removed {
		return e.directory(ctx, cid.Undef, c)
	}
	old, err := d.find(ctx, name)
	if err != nil {
		return Node{}, err
	}
	return e.directory(ctx, old.CID, c)
}
