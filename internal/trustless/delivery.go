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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A delivery is one copy, however many gateways and forms it takes. Its fields are
// used by one goroutine.
type delivery struct {
	ctx     context.Context
	session Session
	at      ipfspath.Place
	part    *gateway.Range
	sink    Sink

	// lookup waits for the file, which is looked up once and in the background.
	lookup func() (*File, error)

	file     *File // nil until it is known
	from, to int64 // what is wanted of it

	next    int64 // the offset that the sink gets next
	started bool
	asked   gateway.ContentRange // by the request under way
}

func newDelivery(ctx context.Context, s Session, at ipfspath.Place, part *gateway.Range, sink Sink) *delivery {
	return &delivery{
		ctx: ctx, session: s, at: at, part: part, sink: sink,
		lookup: sync.OnceValues(func() (*File, error) { return s.Resolve(ctx, at) }),
	}
}

// resolve waits until the file is known, and what is wanted of it.
func (d *delivery) resolve() error {
	if d.file != nil {
		return nil
	}
	f, err := d.lookup()
	if err != nil {
		return err
	}
	from, to := int64(0), f.Size
	if d.part != nil {
		if from, to = d.part.Resolve(f.Size); from >= to {
			return gateway.RangeError{Size: f.Size}
		}
	}
	d.file, d.from, d.to = f, from, to
	d.next = max(d.next, from)
	return nil
}

// run copies what is still wanted. As long as a round of all gateways brought
// something, the next round may: connections break for reasons that pass.
func (d *delivery) run() error {
	go func() { _, _ = d.lookup() }()
	if d.part != nil || d.started { // a request has to say where it begins
		if err := d.resolve(); err != nil {
			return err
		}
	}
	for {
		before := d.next
		err := d.round()
		_, all := errors.AsType[gateway.Error](err)
		if !all || d.next == before {
			return err
		}
	}
}

// round tries one form after the other: the file as it is, and then its blocks.
// Where no gateway is known to serve the former, that comes last.
func (d *delivery) round() error {
	if d.session.pool.Refuses(gateway.Plain) {
		return d.blocksFirst()
	}
	before := d.next
	plain := d.plain()
	if _, all := errors.AsType[gateway.Error](plain); !all || d.next > before {
		return plain
	}
	// An error in the DAG itself says more than the gateways' errors.
	if err := d.resolve(); err != nil {
		return err
	}
	if !mayHaveAnotherForm(plain) {
		return plain
	}
	return d.blocks()
}

func (d *delivery) blocksFirst() error {
	before := d.next
	err := d.blocks()
	if _, all := errors.AsType[gateway.Error](err); !all || d.next > before {
		return err
	}
	if plain := d.plain(); !mayHaveAnotherForm(plain) {
		return plain
	}
	return err
}

// plain asks for the file as it is.
func (d *delivery) plain() error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", d.at.String()),
		Header: d.ask,
		Accept: d.accept,
		Failed: d.session.Failed,

		Verified: true,
	})
}

// ask asks for what is still wanted, from the beginning of a leaf to the end of
// one, or for the whole if the file is not known yet.
func (d *delivery) ask(h http.Header) {
	d.asked = gateway.ContentRange{}
	if d.file == nil || d.file.Table == nil || d.file.Size == 0 {
		return
	}
	table := d.file.Table
	i, j := table.Span(d.next, d.to)
	d.asked = gateway.ContentRange{From: table.Start(i), To: table.Leaves[j-1].End, Size: d.file.Size}
	if d.asked.From > 0 || d.asked.To < d.file.Size {
		gateway.Range{First: d.asked.From, Last: d.asked.To - 1}.Set(h)
	}
}

func (d *delivery) accept(resp *http.Response) error {
	if err := d.resolve(); err != nil {
		return gateway.Stop(err)
	}
	if d.file.Table == nil {
		return gateway.Soft(unixfs.ErrShape) // which is the publisher's choice
	}
	from, err := d.offered(resp)
	if err != nil {
		return err
	}
	if d.file.Size == 0 {
		return d.write(*d.file, 0, nil)
	}
	return ended(d.leaves(resp.Body, from))
}

// offered returns the offset at which an answer begins. A gateway may always
// answer with the whole.
func (d *delivery) offered(resp *http.Response) (from int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if n := resp.ContentLength; n >= 0 && n != d.file.Size {
			return 0, fmt.Errorf("%d bytes where the file has %d", n, d.file.Size)
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
// those that are wanted and right. Each right leaf earns the gateway new patience,
// also before the wanted part: a gateway that serves no ranges does what it can.
func (d *delivery) leaves(body io.Reader, from int64) error {
	buf := leafBuffers.Get().(*[unixfs.MaxLeaf]byte)
	defer leafBuffers.Put(buf)
	table := d.file.Table
	i, _ := table.Span(from, d.file.Size)
	for ; i < len(table.Leaves) && d.next < d.to; i++ {
		leaf := buf[:table.Len(i)]
		if n, err := io.ReadFull(body, leaf); err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", table.Start(i)+int64(n), d.file.Size, unexpected(err))
		}
		if !table.Verify(i, leaf) {
			return fmt.Errorf("leaf at byte %d: %w", table.Start(i), ErrMismatch)
		}
		gateway.Progress(body)
		if table.Leaves[i].End <= d.next {
			continue
		}
		if err := d.write(*d.file, table.Start(i), leaf); err != nil {
			return err
		}
	}
	return nil
}

// unexpected is the error for an end in the middle of a leaf.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// write hands what is wanted of verified bytes at an offset to the sink. Its error
// is the sink's, and ErrEnough as it is.
func (d *delivery) write(f File, at int64, b []byte) error {
	if !d.started {
		d.started = true
		d.sink.Start(f, d.from, d.to)
	}
	b = b[max(0, d.next-at):min(int64(len(b)), d.to-at)]
	if len(b) == 0 {
		return nil
	}
	_, err := d.sink.Write(b)
	if err == nil || errors.Is(err, ErrEnough) {
		d.next += int64(len(b))
		return err
	}
	return gateway.Stop(err)
}

// ended is the error of a copy that ends as one of writing did.
func ended(err error) error {
	if errors.Is(err, ErrEnough) {
		return nil
	}
	return err
}

// blocks asks for the blocks of what is still wanted: in a CAR, or one by one.
func (d *delivery) blocks() error {
	if err := d.resolve(); err != nil {
		return err
	}
	before := d.next
	car := d.carBlocks()
	if !mayHaveAnotherForm(car) || d.next > before {
		return car
	}
	return d.rawBlocks()
}

func (d *delivery) carBlocks() error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", d.file.CID.String()),
		Format: gateway.CAR,
		Query:  url.Values{"dag-scope": {string(scopeEntity)}, "entity-bytes": {fmt.Sprintf("%d:%d", d.next, d.to-1)}},
		Accept: func(resp *http.Response) error {
			blocks := d.session.blocksOf(resp.Body, 2*(d.to-d.next)+maxPath)
			defer blocks.close()
			blocks.leaves = true
			return d.stream(*d.file, blocks.get)
		},
		Failed: d.session.Failed,

		Verified: true,
	})
}

func (d *delivery) rawBlocks() error {
	ahead := newReadAhead(d.ctx, d.session, d.file.Table, d.next, d.to)
	defer ahead.close()
	err := d.stream(*d.file, ahead.get)
	if unavailable, ok := errors.AsType[unavailableError](err); ok {
		return unavailable.error
	}
	return err
}

// stream writes what is still wanted of a file from its blocks.
func (d *delivery) stream(f File, get unixfs.Getter) error {
	if f.Size == 0 {
		return ended(d.write(f, 0, nil))
	}
	err := ended(unixfs.Stream(d.ctx, get, f.CID, d.next, d.to, func(b []byte) error {
		return d.write(f, d.next, b)
	}))
	if err == nil || isUnavailable(err) {
		return err
	}
	return gateway.Stop(err)
}

// straight delivers a file of which nothing is known yet in one round trip, from
// gateways that serve no files: in the CAR from its root on, directories come
// before the file's nodes, and these before its leaves. If the CAR breaks off, the
// other forms go on at the next leaf.
func (d *delivery) straight(needsTable bool) error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", d.at.String()),
		Format: gateway.CAR,
		Query:  url.Values{"dag-scope": {string(scopeEntity)}},
		Accept: func(resp *http.Response) error {
			blocks := d.session.blocksOf(resp.Body, maxPath)
			defer blocks.close()
			err := d.walkAlong(blocks, needsTable)
			switch {
			case isUnavailable(err) && d.started:
				return gateway.Fatal(err)
			case err == nil || isUnavailable(err):
				return err
			}
			return gateway.Stop(err)
		},
		Failed: d.session.Failed,

		Verified: true,
	})
}

// walkAlong follows the path through blocks as they come, and streams the file at
// its end.
func (d *delivery) walkAlong(blocks *carBlocks, needsTable bool) (err error) {
	defer recovered(&err)
	c, err := unixfs.Walk(d.ctx, blocks.get, d.at.Root, d.at.Path)
	if err != nil {
		return err
	}
	first, err := blocks.get(d.ctx, c)
	if err != nil {
		return err
	}
	f, err := d.straightFile(unixfs.Block{CID: c, Data: first}, needsTable)
	if err != nil {
		return err
	}
	blocks.leaves = true
	blocks.body.N += 2 * f.Size
	d.to = f.Size
	return d.stream(*f, blocks.get)
}

func (d *delivery) straightFile(first unixfs.Block, needsTable bool) (*File, error) {
	if needsTable {
		return d.session.fileOf(d.ctx, first)
	}
	size, err := unixfs.FileSize(first)
	if err != nil {
		return nil, err
	}
	return &File{CID: first.CID, Size: size}, nil
}

// mayGoOn reports whether other forms may bring what straight did not.
func (d *delivery) mayGoOn(err error) bool {
	_, all := errors.AsType[gateway.Error](err)
	return isUnavailable(err) || all && d.started || mayHaveAnotherForm(err)
}
