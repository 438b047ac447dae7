package caddymodule

import (
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// What is here answers clients that want several parts of a blob at once, as
// stargz-snapshotter does, from gateways, which are asked for one after the other.

// maxParts is how many parts are given in one answer, wherever they are from.
// Whoever wants more gets the whole, as HTTP allows.
const maxParts = 10

// satisfiable returns which of the ranges that a client wants there is something
// of, none for the whole. To know takes the size where there are several.
func satisfiable(ctx context.Context, ranges []gateway.Range, b remoteBlob) ([]gateway.Range, error) {
	if len(ranges) < 2 {
		return ranges, nil
	}
	size, err := b.Size(ctx)
	if err != nil {
		return nil, err
	}
	var (
		parts []gateway.Range
		sum   int64
	)
	for _, part := range ranges {
		if from, to := part.Resolve(size); from < to {
			parts = append(parts, gateway.Range{First: from, Last: to - 1})
			sum += to - from
		}
	}
	switch {
	case len(parts) == 0:
		return ranges[:1], nil
	case sum > size:
		return nil, nil
	}
	return parts, nil
}

// byteRanges is the trustless.Sink that is a client which gets several parts.
type byteRanges struct {
	*answer
	writer *multipart.Writer
	size   int64 // of the whole
	part   io.Writer
	err    error
}

func (a *answer) copyParts(b remoteBlob) error {
	sink := &byteRanges{answer: a, writer: multipart.NewWriter(a.w)}
	for i := range a.parts {
		if err := b.Copy(a.r.Context(), &a.parts[i], sink); err != nil {
			return err
		}
	}
	return sink.writer.Close()
}

// Start implements trustless.Sink.
func (s *byteRanges) Start(from, to, size int64) {
	if !s.started {
		s.begin(false)
		s.size = size
		header := s.w.Header()
		header.Set("Content-Type", "multipart/byteranges; boundary="+s.writer.Boundary())
		header.Set("Content-Length", strconv.FormatInt(s.length(), 10))
		s.w.WriteHeader(http.StatusPartialContent)
	}
	if size != s.size {
		s.err = fmt.Errorf("a blob of %d bytes, which had %d", size, s.size)
		return
	}
	s.part, s.err = s.writer.CreatePart(partHeader(from, to, size))
}

// Write implements trustless.Sink.
func (s *byteRanges) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.part.Write(b)
}

func partHeader(from, to, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{
		"Content-Range": {contentRange(from, to, size)},
		"Content-Type":  {blobType},
	}
}

// length is how many bytes the answer has.
func (s *byteRanges) length() int64 {
	var n byteCounter
	w := multipart.NewWriter(&n)
	_ = w.SetBoundary(s.writer.Boundary()) // it is one
	for _, p := range s.parts {
		from, to := p.Resolve(s.size)
		_, _ = w.CreatePart(partHeader(from, to, s.size)) // counting never fails
		n += byteCounter(to - from)
	}
	_ = w.Close()
	return int64(n)
}

// A byteCounter counts what is written to it.
type byteCounter int64

// Write implements io.Writer.
func (c *byteCounter) Write(b []byte) (int, error) {
	*c += byteCounter(len(b))
	return len(b), nil
}

var _ trustless.Sink = (*byteRanges)(nil)
