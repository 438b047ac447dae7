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

// A delivery is one copy. It may take several gateways, at the same time where one is
// slow, and several formats.
type delivery struct {
	ctx     context.Context
	session Session
	at      ipfspath.Place
	part    *gateway.Range
	sink    Sink

	// lookup waits for the file, which is looked up once and in the background. The file
	// has its table only if there is memory for it.
	lookup func() (*File, error)

	mu       sync.Mutex
	file     *File // nil until it is known
	from, to int64 // the part of the file to copy
	next     int64 // offset of the byte that the sink gets next
	started  bool  // whether Sink.Start was called
	sinkErr  error // of the last write
	giveBack func()
	isOver   bool
}

func newDelivery(ctx context.Context, s Session, at ipfspath.Place, part *gateway.Range, sink Sink) *delivery {
	d := &delivery{ctx: ctx, session: s, at: at, part: part, sink: sink, giveBack: func() {}}
	d.lookup = sync.OnceValues(d.find)
	return d
}

// find looks the file up, and takes the memory of its table.
func (d *delivery) find() (*File, error) {
	f, err := d.session.Resolve(d.ctx, d.at)
	if err != nil || f.Table == nil {
		return f, err
	}
	giveBack, ok := d.session.UseTable(f.Table)
	if !ok {
		return &File{CID: f.CID, Size: f.Size, isCrowded: true}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveBack = giveBack
	if d.isOver {
		giveBack()
	}
	return f, nil
}

// end gives back the memory of the table. A look-up may still be under way.
func (d *delivery) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isOver = true
	d.giveBack()
}

// resolve waits until the file and the part to copy are known.
func (d *delivery) resolve() (*File, error) {
	f, err := d.lookup()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		return d.file, nil
	}
	from, to := int64(0), f.Size
	if d.part != nil {
		if from, to = d.part.Resolve(f.Size); from >= to {
			return nil, gateway.RangeError{Size: f.Size}
		}
	}
	d.file, d.from, d.to = f, from, to
	d.next = max(d.next, from)
	return f, nil
}

// wanted returns the part of the file that the sink did not get yet.
func (d *delivery) wanted() (from, to int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next, d.to
}

// write hands those bytes of b that are wanted to the sink, and returns their number.
// The bytes are verified, and the first is at offset at of the file. The error is the
// sink's: ErrEnough, or a verdict.
func (d *delivery) write(f File, at int64, b []byte) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sinkErr != nil {
		return 0, d.sinkErr
	}
	hi := min(int64(len(b)), max(0, d.to-at))
	b = b[min(hi, max(0, d.next-at)):hi]
	if len(b) == 0 && f.Size > 0 {
		return 0, nil
	}
	if !d.started {
		d.started = true
		d.sink.Start(f, d.from, d.to)
	}
	if len(b) == 0 {
		return 0, nil
	}
	_, err = d.sink.Write(b)
	if err != nil && !errors.Is(err, ErrEnough) {
		err = gateway.Stop(err)
		b = nil
	}
	d.next += int64(len(b))
	d.sinkErr = err
	return len(b), err
}

// untilEnough returns nil where the sink has all that it wants.
func untilEnough(err error) error {
	if errors.Is(err, ErrEnough) {
		return nil
	}
	return err
}

// run copies the wanted part. While each round of all gateways brings something, another
// round may bring more: connections break for reasons that pass.
func (d *delivery) run() error {
	go func() { _, _ = d.lookup() }()
	if d.part != nil || d.started { // the requests must say where they begin
		if _, err := d.resolve(); err != nil {
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

// round requests the file as it is, and then its blocks: or the other way around if
// every gateway is known to serve no files.
func (d *delivery) round() error {
	if d.session.pool.Refuses(gateway.Plain) {
		return d.blocksFirst()
	}
	before := d.next
	plain := d.plain()
	if _, all := errors.AsType[gateway.Error](plain); !all || d.next > before {
		return plain
	}
	// An error in the DAG itself explains more than the gateways' errors.
	if _, err := d.resolve(); err != nil {
		return err
	}
	if !mayHaveAnotherForm(plain) {
		return plain
	}
	return d.fromBlocks()
}

func (d *delivery) blocksFirst() error {
	before := d.next
	err := d.fromBlocks()
	if _, all := errors.AsType[gateway.Error](err); !all || d.next > before {
		return err
	}
	if plain := d.plain(); !mayHaveAnotherForm(plain) {
		return plain
	}
	return err
}

// plain requests the file as it is.
func (d *delivery) plain() error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", d.at.String()),
		Ask:    d.askRange,
		Accept: d.acceptPlain,
		Failed: d.session.Failed,
	})
}

// askRange requests the leaves that hold the wanted part, or the whole file if they are
// not known.
func (d *delivery) askRange(_ url.Values, h http.Header) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil || d.file.Table == nil || d.file.Size == 0 {
		return
	}
	table := d.file.Table
	i, j := table.Span(d.next, d.to)
	if i < j && (i > 0 || j < len(table.Leaves)) {
		gateway.Range{First: table.Start(i), Last: table.Leaves[j-1].End - 1}.Set(h)
	}
}

func (d *delivery) acceptPlain(resp *http.Response) error {
	f, err := d.resolve()
	if err != nil {
		return gateway.Stop(err)
	}
	if f.Table == nil {
		return gateway.Soft(unixfs.ErrShape) // the publisher's choice
	}
	from, err := offered(resp, f.Size)
	if err != nil {
		return err
	}
	if f.Size == 0 {
		_, err := d.write(*f, 0, nil)
		return err
	}
	return untilEnough(d.leaves(resp.Body, *f, from))
}

// offered returns the offset at which the body of an answer begins. A gateway may
// answer a request for a range with the whole file.
func offered(resp *http.Response, size int64) (from int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if n := resp.ContentLength; n >= 0 && n != size {
			return 0, fmt.Errorf("%d bytes for a file of %d bytes", n, size)
		}
		return 0, nil
	case http.StatusPartialContent:
		part, err := gateway.Partial(resp)
		if err != nil {
			return 0, err
		}
		asked, _ := gateway.ParseRange(resp.Request.Header.Get("Range"))
		from, to := asked.Resolve(size)
		if want := (gateway.ContentRange{From: from, To: to, Size: size}); part != want {
			return 0, fmt.Errorf("%s in answer to a request for %s", part, want)
		}
		return from, nil
	}
	return 0, errors.New(resp.Status)
}

var leafBuffers = sync.Pool{New: func() any { return new([unixfs.MaxLeaf]byte) }}

// leaves reads the leaves from the one that begins at offset from, and writes them once
// they are verified. A leaf before the wanted part is progress, too: a gateway that
// serves no ranges cannot do better.
func (d *delivery) leaves(body io.Reader, f File, from int64) error {
	buf := leafBuffers.Get().(*[unixfs.MaxLeaf]byte)
	defer leafBuffers.Put(buf)
	table := f.Table
	i, _ := table.Span(from, f.Size)
	for ; i < len(table.Leaves); i++ {
		if next, to := d.wanted(); next >= to {
			break
		}
		leaf := buf[:table.Len(i)]
		if n, err := io.ReadFull(body, leaf); err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", table.Start(i)+int64(n), f.Size, unexpected(err))
		}
		if !table.Verify(i, leaf) {
			return fmt.Errorf("leaf at byte %d: %w", table.Start(i), ErrMismatch)
		}
		n, err := d.write(f, table.Start(i), leaf)
		gateway.Progress(body, n)
		if err != nil {
			return err
		}
	}
	return nil
}

// unexpected returns io.ErrUnexpectedEOF for an end within a leaf.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fromBlocks requests the blocks of the wanted part: in a CAR, and then one by one.
func (d *delivery) fromBlocks() error {
	f, err := d.resolve()
	if err != nil {
		return err
	}
	before := d.next
	car := d.carBlocks(*f)
	if !mayHaveAnotherForm(car) || d.next > before {
		return car
	}
	return d.rawBlocks(*f)
}

func (d *delivery) carBlocks(f File) error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", f.CID.String()),
		Format: gateway.CAR,
		Ask:    d.askEntity,
		Accept: func(resp *http.Response) error {
			from, to := d.wanted()
			blocks := d.session.blocksOf(resp.Body, 2*(to-from)+maxPath)
			defer blocks.close()
			blocks.leaves = true
			return d.stream(f, blocks.get, blocks.progress)
		},
		Failed: d.session.Failed,
	})
}

// askEntity requests the blocks of the wanted part, or of the whole file if its size is
// not known.
func (d *delivery) askEntity(query url.Values, _ http.Header) {
	query.Set("dag-scope", string(scopeEntity))
	if from, to := d.wanted(); from < to {
		query.Set("entity-bytes", fmt.Sprintf("%d:%d", from, to-1))
	}
}

func (d *delivery) rawBlocks(f File) error {
	from, to := d.wanted()
	ahead := newReadAhead(d.ctx, d.session, f.Table, from, to)
	defer ahead.close()
	err := d.stream(f, ahead.get, func(int) {})
	if unavailable, ok := errors.AsType[unavailableError](err); ok {
		return unavailable.error
	}
	return err
}

// stream writes the wanted part of a file from its blocks. It calls progress with the
// number of bytes of each write that were new to the sink.
func (d *delivery) stream(f File, get unixfs.Getter, progress func(int)) error {
	if f.Size == 0 {
		_, err := d.write(f, 0, nil)
		return untilEnough(err)
	}
	at, to := d.wanted()
	if at >= to {
		return nil
	}
	err := untilEnough(unixfs.Stream(d.ctx, get, f.CID, at, to, func(b []byte) error {
		n, err := d.write(f, at, b)
		at += int64(len(b))
		progress(n)
		return err
	}))
	if err == nil || isUnavailable(err) {
		return err
	}
	return gateway.Stop(err)
}
