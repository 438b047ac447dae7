package trustless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// ErrMismatch says that content does not have the hash by which it was asked for.
var ErrMismatch = unixfs.ErrMismatch

// A Sink takes what is copied.
type Sink interface {
	io.Writer

	// Start is called once, before anything is written: the bytes [from, to)
	// of size will be.
	Start(from, to, size int64)
}

// Copy writes the file at the slash-separated path below root to sink, or a part
// of it if part is not nil. Only verified bytes are written. What one gateway
// began, another goes on with; only if none can, the sink has got less than Start
// said.
//
// The nodes that say what the leaves are and the file itself are asked for at
// the same time, so that verifying costs no round trip. The file as it is costs
// gateways the least; where none serves that, its blocks are asked for, in the
// same number of round trips.
func (s Session) Copy(ctx context.Context, root cid.Cid, at string, part *gateway.Range, sink Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &delivery{session: s, ctx: ctx, path: path.Join("ipfs", root.String(), at), part: part, sink: sink}
	d.found = sync.OnceValue(func() error { return d.find(root, at) })
	if part == nil && s.pool.Refuses(gateway.Plain) && !s.files.has(root, at) {
		if err := d.straight(root, at); err == nil || !d.mayGoOn(err) {
			return err
		}
	}
	go func() { _ = d.found() }()
	if part != nil { // where its leaves begin is not known yet
		if err := d.found(); err != nil {
			return err
		}
		d.next = d.from
	}
	return d.run()
}

// A delivery is one copy, however many gateways and ways it takes.
type delivery struct {
	session Session
	ctx     context.Context
	path    string // of the file, from its root
	part    *gateway.Range
	sink    Sink

	found func() error // waits until what follows is known
	*file
	from int64 // of what is wanted
	to   int64

	next    int64 // the offset that the sink gets next
	started bool
	asked   gateway.ContentRange // by the request under way
}

// find looks up what the file is, and what of it is wanted.
func (d *delivery) find(root cid.Cid, at string) (err error) {
	if d.file, err = d.session.file(d.ctx, root, at); err != nil {
		return err
	}
	d.to = d.size
	if d.part != nil {
		d.from, d.to = d.part.Resolve(d.size)
		if d.from >= d.to {
			return gateway.RangeError{Size: d.size}
		}
	}
	return nil
}

// run tries the ways in turn. As long as a round of all gateways brought
// something, the next one may: connections break for reasons that pass.
func (d *delivery) run() error {
	for {
		before := d.next
		err := d.round()
		_, all := errors.AsType[gateway.Error](err)
		if !all || d.next == before {
			return err
		}
	}
}

// round tries one way after the other: the file as it is, and then its blocks.
// Where no gateway is known to serve the former, that comes last.
func (d *delivery) round() error {
	before := d.next
	if d.session.pool.Refuses(gateway.Plain) {
		err := d.blocks()
		if _, all := errors.AsType[gateway.Error](err); !all || d.next > before {
			return err
		}
		if plain := d.plain(); !mayHaveAnotherForm(plain) {
			return plain
		}
		return err
	}
	plain := d.plain()
	if _, all := errors.AsType[gateway.Error](plain); !all || d.next > before {
		return plain
	}
	// What the DAG says counts for more than what gateways say of the file.
	if err := d.found(); err != nil {
		return err
	}
	if !mayHaveAnotherForm(plain) {
		return plain
	}
	return d.blocks()
}

// blocks asks for the blocks of what is still wanted: in a CAR, or one by one.
func (d *delivery) blocks() error {
	if err := d.found(); err != nil {
		return err
	}
	before := d.next
	car := d.car()
	if !mayHaveAnotherForm(car) || d.next > before {
		return car
	}
	return d.raw()
}

// plain asks for the file as it is.
func (d *delivery) plain() error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   d.path,
		Header: d.ask,
		Accept: d.accept,
		Failed: d.session.Failed,

		Verified: true,
	})
}

// ask asks for what is still wanted, from the beginning of a leaf to the end of
// one, or for the whole if nothing is known yet.
func (d *delivery) ask(h http.Header) {
	d.asked = gateway.ContentRange{}
	if d.part == nil && !d.started {
		return
	}
	if d.table == nil {
		return
	}
	i, j := d.table.Span(d.next, d.to)
	d.asked = gateway.ContentRange{From: d.table.Start(i), To: d.table.Leaves[j-1].End, Size: d.size}
	if d.asked.From > 0 || d.asked.To < d.size {
		gateway.Range{First: d.asked.From, Last: d.asked.To - 1}.Set(h)
	}
}

func (d *delivery) accept(resp *http.Response) error {
	if err := d.found(); err != nil {
		return gateway.Stop(err)
	}
	if d.table == nil {
		return gateway.Soft(unixfs.ErrShape) // anybody may publish such files, so nothing to remember
	}
	from, err := d.offered(resp)
	if err != nil {
		return err
	}
	if d.size == 0 {
		return d.write(0, nil)
	}
	return d.leaves(resp.Body, from, func() { gateway.Progress(resp.Body) })
}

// offered returns the offset at which an answer begins, if it is one to what was
// asked for. A gateway may always answer with the whole.
func (d *delivery) offered(resp *http.Response) (from int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if n := resp.ContentLength; n >= 0 && n != d.size {
			return 0, fmt.Errorf("%d bytes where the file has %d", n, d.size)
		}
		return 0, nil
	case http.StatusPartialContent:
		c, err := gateway.Partial(resp)
		if err != nil {
			return 0, err
		}
		if c != d.asked {
			return 0, fmt.Errorf("%s where %s was asked for", c, d.asked)
		}
		return c.From, nil
	}
	return 0, errors.New(resp.Status)
}

var leafBuffers = sync.Pool{New: func() any { return new([unixfs.MaxLeaf]byte) }}

// leaves reads leaf after leaf, from the one that begins at an offset, and writes
// those that are wanted and right. From a gateway that gives the whole where a part
// is wanted, each right leaf before it earns new patience as well: it does what it
// can.
func (d *delivery) leaves(body io.Reader, from int64, progress func()) error {
	buf := leafBuffers.Get().(*[unixfs.MaxLeaf]byte)
	defer leafBuffers.Put(buf)
	i, _ := d.table.Span(from, d.size)
	for ; i < len(d.table.Leaves) && d.next < d.to; i++ {
		leaf := buf[:d.table.Len(i)]
		if n, err := io.ReadFull(body, leaf); err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", d.table.Start(i)+int64(n), d.size, unexpected(err))
		}
		if !d.table.Verify(i, leaf) {
			return fmt.Errorf("leaf at byte %d: %w", d.table.Start(i), ErrMismatch)
		}
		progress()
		if d.table.Leaves[i].End <= d.next {
			continue
		}
		if err := d.write(d.table.Start(i), leaf); err != nil {
			return err
		}
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// write hands what is wanted of verified bytes at an offset to the sink.
func (d *delivery) write(at int64, b []byte) error {
	if !d.started {
		d.started = true
		d.sink.Start(d.from, d.to, d.size)
	}
	b = b[max(0, d.next-at):min(int64(len(b)), d.to-at)]
	if len(b) == 0 {
		return nil
	}
	if _, err := d.sink.Write(b); err != nil {
		return gateway.Stop(err)
	}
	d.next += int64(len(b))
	return nil
}

// car asks for the blocks of what is still wanted.
func (d *delivery) car() error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", d.cid.String()),
		Format: gateway.CAR,
		Query:  url.Values{"dag-scope": {string(entity)}, "entity-bytes": {fmt.Sprintf("%d:%d", d.next, d.to-1)}},
		Accept: func(resp *http.Response) error {
			blocks := d.session.fromCAR(resp.Body, 2*(d.to-d.next)+maxPath)
			blocks.leaves = true
			return d.stream(blocks.get)
		},
		Failed: d.session.Failed,

		Verified: true,
	})
}

// raw asks for blocks one by one.
func (d *delivery) raw() error {
	ahead := newReadAhead(d.ctx, d.session, d.table, d.next, d.to)
	defer ahead.close()
	err := d.stream(ahead.get)
	if unavailable, ok := errors.AsType[unavailableError](err); ok {
		return unavailable.error
	}
	return err
}

func (d *delivery) stream(get unixfs.Getter) error {
	if d.size == 0 {
		return d.write(0, nil)
	}
	err := unixfs.Stream(d.ctx, get, d.cid, d.next, d.to, func(b []byte) error {
		return d.write(d.next, b)
	})
	if err == nil || isUnavailable(err) {
		return err
	}
	return gateway.Stop(err)
}
