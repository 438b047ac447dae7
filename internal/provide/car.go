package provide

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// serveCAR answers with the blocks on a path, and with those of the content at its end. If
// the path does not exist, the blocks prove that.
func (p *Provider) serveCAR(w http.ResponseWriter, r *Request) error {
	trail, err := p.trail(r)
	isAbsent := errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrLacking)
	if err != nil && !isAbsent {
		return err
	}
	end := r.Root
	if !isAbsent {
		end = r.last(trail)
	}
	if _, err := p.anyBlock(r.Context(), end); err != nil {
		return err
	}
	r.setContent(w, r.car.mediaType(), end.String()+".car", r.carTag())
	if r.withoutBody(w) {
		return nil
	}
	if err := p.writeCAR(w, r, trail, end, isAbsent); err != nil {
		p.cut(r, err)
	}
	return nil
}

func (o carOptions) mediaType() string {
	dups := "n"
	if o.dups {
		dups = "y"
	}
	return carType + "; version=1; order=dfs; dups=" + dups
}

// carTag returns the entity tag of a CAR. It is a weak one: another version of this program
// may send the blocks in another order.
func (r *Request) carTag() string {
	options := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", r.Path, r.car.bytes, r.car.mediaType()))
	return fmt.Sprintf(`W/"%s.car.%s.%x"`, r.Root, r.car.scope, options[:8])
}

// carBuffer is how many bytes of a CAR are collected before they are sent.
const carBuffer = 32 << 10

func (p *Provider) writeCAR(w http.ResponseWriter, r *Request, trail []cid.Cid, end cid.Cid, isAbsent bool) error {
	out := bufio.NewWriterSize(awayWriter{r.Context(), w}, carBuffer)
	encoder, err := car.NewEncoder(out, end)
	if err != nil {
		return err
	}
	c := &carWalk{Provider: p, r: r, w: w, car: encoder, blocks: newBlockSet(r)}
	defer c.blocks.close()
	_, err = unixfs.Walk(r.Context(), c.get, r.Root, r.Path)
	switch {
	case err == nil && !isAbsent:
		err = c.end(end, trail)
	case isAbsent && errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// An awayWriter lets other requests have the turn of its request while it writes.
type awayWriter struct {
	ctx context.Context
	w   http.ResponseWriter
}

// Write implements io.Writer.
func (a awayWriter) Write(b []byte) (int, error) {
	defer budget.Away(a.ctx)()
	return a.w.Write(b)
}

// A carWalk writes the blocks of one CAR.
type carWalk struct {
	*Provider
	r      *Request
	w      http.ResponseWriter
	car    *car.Encoder
	blocks blockSet
	buf    []byte // for a leaf
}

// get is a unixfs.Getter that writes what it gets.
func (c *carWalk) get(ctx context.Context, id cid.Cid) ([]byte, error) {
	data, err := c.block(ctx, id)
	if err != nil {
		return nil, err
	}
	return data, c.put(ctx, unixfs.Block{CID: id, Data: data})
}

// put writes a block, unless it was written and may not come twice.
func (c *carWalk) put(ctx context.Context, b unixfs.Block) error {
	isNew, err := c.admit(ctx, b.CID)
	if err != nil || !isNew {
		return err
	}
	return c.car.Put(b)
}

// admit reports whether a block is to be written. It returns an error if the lists deny the
// block, or if there is no memory to remember it.
func (c *carWalk) admit(ctx context.Context, id cid.Cid) (bool, error) {
	if _, inline := unixfs.Inline(id); inline {
		return false, nil // the CID has its data
	}
	if !c.r.car.dups {
		if isNew, err := c.blocks.add(ctx, id); err != nil || !isNew {
			return false, err
		}
	}
	return true, c.config.Lists.CheckDenied(id, "")
}

// end writes the blocks of the content at the end of the path.
func (c *carWalk) end(id cid.Cid, trail []cid.Cid) error {
	ctx := c.r.Context()
	data, err := c.anyBlock(ctx, id)
	if err != nil {
		return err
	}
	first := unixfs.Block{CID: id, Data: data}
	switch c.r.car.scope {
	case scopeBlock:
		return c.put(ctx, first)
	case scopeAll:
		return c.all(ctx, first, place{c.r.Path, trail}, maxDepth)
	}
	entries, err := unixfs.Entries(first)
	if errors.Is(err, unixfs.ErrNotDirectory) {
		return c.file(ctx, first, c.r.car.bytes)
	}
	if err != nil {
		return err
	}
	c.r.car.dups = false // each node of a sharded directory occurs once
	return c.directory(ctx, first, entries, maxDepth)
}

// maxDepth is how deep nodes may be nested in a CAR, not counting those of a file.
const maxDepth = 64

var errTooDeep = fmt.Errorf("directories are nested more than %d deep", maxDepth)

// directory writes the nodes of a directory.
func (c *carWalk) directory(ctx context.Context, b unixfs.Block, entries []unixfs.Entry, depth int) error {
	if depth == 0 {
		return errTooDeep
	}
	if err := c.put(ctx, b); err != nil {
		return err
	}
	c.blocks.complete(b.CID)
	leave, err := c.hold(b)
	if err != nil {
		return err
	}
	defer leave()
	for _, e := range entries {
		if !e.IsInner || c.blocks.isComplete(e.CID) {
			continue
		}
		data, err := c.block(ctx, e.CID)
		if err != nil {
			return err
		}
		node := unixfs.Block{CID: e.CID, Data: data}
		below, err := unixfs.Entries(node)
		if err == nil {
			err = c.directory(ctx, node, below, depth-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A place is where a block is, for the lists: its path below the root of the request, and the
// CIDs on the way.
type place struct {
	path  string
	trail []cid.Cid
}

// all writes the blocks of everything below a block.
func (c *carWalk) all(ctx context.Context, b unixfs.Block, at place, depth int) error {
	if depth == 0 {
		return errTooDeep
	}
	entries, err := unixfs.Entries(b)
	if errors.Is(err, unixfs.ErrNotDirectory) {
		return c.file(ctx, b, nil)
	}
	if err != nil {
		return err
	}
	if err := c.put(ctx, b); err != nil {
		return err
	}
	c.blocks.complete(b.CID)
	leave, err := c.hold(b)
	if err != nil {
		return err
	}
	defer leave()
	b.Data = nil
	for _, e := range entries {
		if err := c.entry(ctx, e, at, depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *carWalk) entry(ctx context.Context, e unixfs.Entry, at place, depth int) error {
	if !e.IsInner {
		at = place{at.path + "/" + e.Name, append(at.trail[:len(at.trail):len(at.trail)], e.CID)}
		if err := c.config.Lists.CheckDenied(c.r.Root, at.path, at.trail...); err != nil {
			return err
		}
	}
	if c.blocks.isComplete(e.CID) {
		return nil
	}
	data, err := c.anyBlock(ctx, e.CID)
	if err != nil {
		return err
	}
	return c.all(ctx, unixfs.Block{CID: e.CID, Data: data}, at, depth-1)
}

// file writes the blocks that hold a part of a file. A block that belongs neither to a file
// nor to a directory is written alone.
func (c *carWalk) file(ctx context.Context, first unixfs.Block, part *byteRange) error {
	size, err := unixfs.FileSize(first)
	if err != nil {
		return c.put(ctx, first)
	}
	f := carFile{carWalk: c}
	if f.blob, err = c.blob(first.CID); err != nil && !errors.Is(err, store.ErrLacking) {
		return err
	}
	if f.blob != nil {
		defer f.blob.Close()
	}
	from, to := part.of(size)
	return unixfs.VisitFile(ctx, c.block, first, from, to, f)
}

// linkMemory is about how many bytes a link takes, besides those of its block.
const linkMemory = 100

// hold takes the memory for the links of a node, while the blocks below it are written.
func (c *carWalk) hold(b unixfs.Block) (leave func(), err error) {
	return hold(c.w, c.r, linkMemory*unixfs.CountLinks(b.Data))
}
