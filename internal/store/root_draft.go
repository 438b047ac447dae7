package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// rootProfile is the profile of the root's directories and small files.
var rootProfile = unixfs.V1

// A Draft is the next state of a root, while a change is made. It is for one goroutine.
type Draft struct {
	store   *Store
	im      *Import // nil for a draft that is only read
	root    cid.Cid // undefined before the first change
	actions []Action

	// What changes made. Some of it may not be in the next state.
	blocks map[string]unixfs.Block // by CID
	blobs  map[string]draftBlob    // by CID
}

// A draftBlob is a file that is larger than a block.
type draftBlob struct {
	path   string
	digest digest.Digest
	file   *unixfs.File
}

func newDraft(im *Import, current cid.Cid) *Draft {
	return &Draft{store: im.store, im: im, root: current, blocks: map[string]unixfs.Block{}, blobs: map[string]draftBlob{}}
}

// make makes a change, or takes it back if it fails.
func (d *Draft) make(c *rootChange) {
	before := d.root
	d.actions = nil
	if c.err = c.run(d); c.err != nil {
		d.root = before
		return
	}
	c.actions, c.isNew = d.actions, !d.root.Equals(before)
}

// run calls the function of a change. A panic in it is an error: a server would survive it on
// the goroutine of the request.
func (c *rootChange) run(d *Draft) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("changing the root: panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.make(c.ctx, d)
}

// Note adds an action to the line of the log.
func (d *Draft) Note(a Action) {
	a.Address = cid.Undef
	d.actions = append(d.actions, a)
}

// Edit changes files by slash-separated path: nil removes a file or directory. Directories
// are made where they are needed, and an empty one is removed.
func (d *Draft) Edit(ctx context.Context, changes map[string]*unixfs.Node) error {
	node, err := rootProfile.Edit(ctx, d.Block, d.root, changes, d.add)
	if err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	d.root = node.CID
	return nil
}

func (d *Draft) add(b unixfs.Block) error {
	d.blocks[b.CID.KeyString()] = b
	return nil
}

// AddFile returns the node of a file with data, for Edit.
func (d *Draft) AddFile(data []byte) (unixfs.Node, error) {
	table := rootProfile.NewTable()
	if len(data) <= rootProfile.LeafSize() {
		table.Add(data)
		b := table.Block(0, data)
		return unixfs.Node{CID: b.CID, Size: uint64(len(b.Data))}, d.add(b)
	}
	cutter := rootProfile.NewCutter()
	cutter.Write(data)
	file, err := rootProfile.Layout(cutter.Table())
	if err != nil {
		return unixfs.Node{}, err
	}
	p := filepath.Join(d.im.TempDir(), key(file.CID))
	if err := d.im.retry(func() error { return os.WriteFile(p, data, 0o600) }); err != nil {
		return unixfs.Node{}, err
	}
	d.blobs[file.CID.KeyString()] = draftBlob{p, digest.FromBytes(data), file}
	return file.Node, nil
}

// Block returns a verified block that is kept, or that a change made. It is a unixfs.Getter.
// A block that should be there and is not is ErrDamaged.
func (d *Draft) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if b, made := d.blocks[c.KeyString()]; made {
		return b.Data, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	data, err := d.store.readNode(c)
	if err == nil {
		err = (unixfs.Block{CID: c, Data: data}).Verify()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%s is %w: %v", d.store.nodePath(c), ErrDamaged, err) //nolint:errorlint // a missing block proves no absence
	}
	return data, nil
}

// Lookup returns the CID at a slash-separated path. If there is none, the error is
// fs.ErrNotExist.
func (d *Draft) Lookup(ctx context.Context, path string) (cid.Cid, error) {
	if !d.root.Defined() {
		return cid.Undef, fs.ErrNotExist
	}
	return unixfs.Walk(ctx, d.Block, d.root, path)
}

// List returns the entries of the directory at a slash-separated path. If there is none, the
// error is fs.ErrNotExist.
func (d *Draft) List(ctx context.Context, path string) (map[string]unixfs.Node, error) {
	c, err := d.Lookup(ctx, path)
	if err != nil {
		return nil, err
	}
	return unixfs.List(ctx, d.Block, c)
}

// ReadFile returns the content of a file of the root, of at most limit bytes.
func (d *Draft) ReadFile(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	if b, made := d.blobs[c.KeyString()]; made {
		return os.ReadFile(b.path)
	}
	return d.store.readWith(ctx, d.Block, c, limit)
}

// address sets the addresses of actions.
func (d *Draft) address(actions []*Action) error {
	addresses := map[string]cid.Cid{}
	for _, a := range actions {
		if a.Name == "" {
			continue
		}
		c, known := addresses[a.Name]
		if !known {
			var err error
			if c, err = d.alone(context.Background(), a.Name); err != nil {
				return err
			}
			addresses[a.Name] = c
		}
		a.Address = c
	}
	return nil
}

// alone returns the root of a directory that holds one repository alone, or cid.Undef if there
// is no such repository. Repositories below it are left out.
func (d *Draft) alone(ctx context.Context, name string) (cid.Cid, error) {
	entries, err := d.List(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return cid.Undef, nil
	}
	if err != nil {
		return cid.Undef, err
	}
	parts := map[string]*unixfs.Node{}
	for entry, node := range entries {
		if p := path.Join(name, entry); layout.IsPartsDir(p) {
			parts[p] = &node
		}
	}
	if len(parts) == 0 {
		return cid.Undef, nil
	}
	node, err := rootProfile.Edit(ctx, d.Block, cid.Undef, parts, d.add)
	return node.CID, err
}

// Alone returns the root of a directory that holds one repository alone, at its name, as the
// last change left it. The error is ErrLacking if there is no such repository.
func (r *Root) Alone(ctx context.Context, name string) (cid.Cid, error) {
	current, err := r.Current()
	if err != nil {
		return cid.Undef, err
	}
	return r.AloneIn(ctx, current, name)
}

// AloneIn is like Alone, for a given state of the root.
func (r *Root) AloneIn(ctx context.Context, state cid.Cid, name string) (cid.Cid, error) {
	c, err := (&Draft{store: r.store, root: state, blocks: map[string]unixfs.Block{}}).alone(ctx, name)
	if err == nil && !c.Defined() {
		err = fmt.Errorf("the root has no repository %s: %w", name, ErrLacking)
	}
	return c, err
}

// used returns the blocks and blobs that changes made and that the next state or an address
// leads to.
func (d *Draft) used(actions []*Action) (blocks []unixfs.Block, blobs []draftBlob, err error) {
	todo := []cid.Cid{d.root}
	for _, a := range actions {
		todo = append(todo, a.Address)
	}
	seen := map[string]bool{}
	for len(todo) > 0 {
		c := todo[len(todo)-1].KeyString()
		todo = todo[:len(todo)-1]
		if seen[c] {
			continue
		}
		seen[c] = true
		if b, made := d.blobs[c]; made {
			blobs = append(blobs, b)
		}
		b, made := d.blocks[c]
		if !made {
			continue
		}
		blocks = append(blocks, b)
		children, _, err := unixfs.Children(b)
		if err != nil {
			return nil, nil, err
		}
		for _, child := range children {
			todo = append(todo, child.CID)
		}
	}
	return blocks, blobs, nil
}
