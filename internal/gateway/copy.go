package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/opencontainers/go-digest"
)

// piece is how much of a file is read before it is written, and how much at
// most is held back at its end. What is not longer is checked before anything
// of it is written, so a gateway that lies about it is passed over and nobody
// notices. The message that Kubo appends to a body with which it cannot go on
// (Gateway.RetrievalTimeout) is shorter as well, and so is never written.
const piece = 256 << 10

// A Sink takes what is copied.
type Sink interface {
	io.Writer

	// Start is called once, before anything is written: the bytes [from, to)
	// of size will be.
	Start(from, to, size int64)
}

// Copy writes the file to sink, or a part of it if part is not nil. What one
// gateway began, another goes on with. The last piece is held back until the
// whole has the digest d. If it has not, or if no gateway can go on, the sink
// has got less than Start said.
//
// A part cannot be checked by a digest of the whole. Whoever asks for parts
// checks what it puts together from them, as all container tools do. Where no
// gateway gives parts, the error is ErrNoRanges at one of them at least.
//
// A sink is always told the size, or some could not tell an answer that was cut
// off from a whole one, and a body without end would have none. So if a gateway
// does not say it, what is longer than a piece is asked for as a part from the
// first byte on: with that comes the size.
func (f File) Copy(ctx context.Context, d digest.Digest, part *Range, sink Sink) error {
	if err := d.Validate(); err != nil {
		return err
	}
	t := &transfer{sink: sink, part: part, digest: d, hash: d.Algorithm().Hash()}

	// As long as a round of all gateways brought something, the next one may:
	// connections break for reasons that pass.
	for {
		before := t.sent
		err := f.Pool.Do(ctx, f.exchange(t.header, t.accept))
		_, all := errors.AsType[Error](err)
		switch {
		case !all:
			return err
		case t.part == nil && errors.Is(err, errUnsized) && !t.started:
			t.part = &Range{0, -1}
		case t.sent == before:
			return err
		}
	}
}

var errUnsized = errors.New("the answer does not say how long it is")

type buffer [2][piece]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// A transfer is one copy, however many gateways it takes.
type transfer struct {
	sink   Sink
	part   *Range
	digest digest.Digest

	started      bool
	ContentRange           // what the sink was told will come
	sent         int64     // bytes that the sink has
	hash         hash.Hash // of these, and of the last piece in the end
	answers      int       // that they came from
}

func (t *transfer) header(h http.Header) {
	switch {
	case t.started:
		t.rest().Set(h)
	case t.part != nil:
		t.part.Set(h)
	}
}

// rest is the part that the sink does not have yet.
func (t *transfer) rest() Range { return Range{t.From + t.sent, t.To - 1} }

func (t *transfer) accept(resp *http.Response) error {
	c, err := t.offered(resp)
	if err != nil {
		return err
	}
	bufs := buffers.Get().(*buffer)
	defer buffers.Put(bufs)
	body := io.Reader(resp.Body)
	if c.Size < 0 {
		whole, err := fill(body, bufs[1][:])
		if err == nil {
			return Soft(errUnsized)
		}
		if err != io.EOF {
			return err
		}
		n := int64(len(whole))
		c, body = ContentRange{0, n, n}, bytes.NewReader(whole)
	}
	if !t.started {
		t.ContentRange = c
	}
	return t.pump(body, bufs)
}

// offered returns what part of the file an answer is, if it is the one that was
// asked for.
func (t *transfer) offered(resp *http.Response) (ContentRange, error) {
	if !t.started && t.part == nil {
		if resp.StatusCode != http.StatusOK {
			return ContentRange{}, errors.New(resp.Status)
		}
		return ContentRange{0, resp.ContentLength, resp.ContentLength}, nil
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && !t.started {
		return ContentRange{}, t.unsatisfied(resp)
	}
	c, err := Partial(resp)
	if err != nil {
		return ContentRange{}, err
	}
	want := t.part
	if t.started {
		// Who is wrong about it, the first one or this one, nobody knows.
		if c.Size != t.Size {
			return ContentRange{}, Soft(fmt.Errorf("a file of %d bytes, which had %d", c.Size, t.Size))
		}
		rest := t.rest()
		want = &rest
	}
	if !want.matches(c) {
		return ContentRange{}, fmt.Errorf("%s in answer to %s", c, want)
	}
	return c, nil
}

func (t *transfer) unsatisfied(resp *http.Response) error {
	size, err := unsatisfied(resp)
	if err != nil {
		return err
	}
	if from, to := t.part.Resolve(size); from < to {
		return fmt.Errorf("%s is within %d bytes, which the gateway denies", t.part, size)
	}
	return Soft(RangeError{size})
}

// pump writes the body to the sink, always one piece behind. What it has not
// written when the body breaks off is forgotten, and asked for again.
func (t *transfer) pump(body io.Reader, bufs *buffer) error {
	if !t.started {
		t.answers = 0
		t.hash.Reset()
	}
	t.answers++
	var held []byte
	for i := 0; ; i++ {
		next, err := fill(body, bufs[i%2][:])
		if t.From+t.sent+int64(len(held)+len(next)) > t.To {
			return fmt.Errorf("more bytes than the %d that it said", t.To-t.From)
		}
		if err != nil && err != io.EOF {
			return err
		}
		if len(next) == 0 {
			return t.finish(held)
		}
		if len(held) > 0 {
			t.hash.Write(held)
			if err := t.write(held); err != nil {
				return err
			}
		}
		held = next
		if err == io.EOF {
			return t.finish(held)
		}
	}
}

// fill reads until buf is full or there is an error.
func fill(r io.Reader, buf []byte) ([]byte, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return buf[:n], err
		}
	}
	return buf[:n], nil
}

func (t *transfer) finish(held []byte) error {
	if end := t.From + t.sent + int64(len(held)); end != t.To {
		return fmt.Errorf("ends after %d bytes of %d", end-t.From, t.To-t.From)
	}
	if whole := t.From == 0 && t.To == t.Size; whole {
		t.hash.Write(held)
		if digest.NewDigest(t.digest.Algorithm(), t.hash) != t.digest {
			return t.mismatch()
		}
	}
	return t.write(held)
}

// mismatch is the error of a whole that has the wrong digest. Which answer was
// wrong cannot be known if there were several; all but the last one broke off,
// which is held against them already.
func (t *transfer) mismatch() error {
	if !t.started {
		return ErrMismatch
	}
	if t.answers > 1 {
		return Stop(fmt.Errorf("%w, put together from %d answers", ErrMismatch, t.answers))
	}
	return Fatal(ErrMismatch)
}

func (t *transfer) write(b []byte) error {
	if !t.started {
		t.started = true
		t.sink.Start(t.From, t.To, t.Size)
	}
	if _, err := t.sink.Write(b); err != nil {
		return Stop(err)
	}
	t.sent += int64(len(b))
	return nil
}
