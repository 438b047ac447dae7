package registry

import (
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// maxRanges is how many parts are given in one answer. podman asks for hundreds when it
// pulls only what changed. A client that wants more gets the whole, as HTTP allows.
const maxRanges = 1024

// wantedRanges returns the parts that a client wants, nil for the whole: the client has
// another content, by If-Range, or the header makes no sense or has too many parts, and
// then is to be ignored. Only GET has ranges.
func wantedRanges(r Request, etag string) []images.Range {
	valid := r.Header.Get("If-Range")
	if r.Method != http.MethodGet || valid != "" && valid != etag {
		return nil
	}
	list, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || strings.Count(list, ",") >= maxRanges {
		return nil
	}
	parts := strings.Split(list, ",")
	ranges := make([]images.Range, len(parts))
	for i, part := range parts {
		if ranges[i], ok = gateway.ParseRange("bytes=" + strings.TrimSpace(part)); !ok {
			return nil
		}
	}
	return ranges
}

// satisfiable returns those of several ranges that have bytes in the blob, none if the
// client should get the whole. A single range is returned as it is, since it can be
// judged without the size.
func satisfiable(ctx context.Context, ranges []images.Range, b images.Blob) ([]images.Range, error) {
	if len(ranges) < 2 {
		return ranges, nil
	}
	size, err := b.Size(ctx)
	if err != nil {
		return nil, err
	}
	var (
		parts []images.Range
		sum   int64
	)
	for _, part := range ranges {
		if from, to := part.Resolve(size); from < to {
			parts = append(parts, images.Range{First: from, Last: to - 1})
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

// A byteRanges is the images.Sink that is a client which gets several parts, in the
// order in which it asked for them.
type byteRanges struct {
	*delivery
	parts  []images.Range
	writer *multipart.Writer
	size   int64     // of the blob
	part   io.Writer // the one that is being written
	err    error
}

func newByteRanges(d *delivery, parts []images.Range) *byteRanges {
	return &byteRanges{delivery: d, parts: parts, writer: multipart.NewWriter(d.w)}
}

func (s *byteRanges) copy(b images.Blob) error {
	for i := range s.parts {
		if err := b.Copy(s.r.Context(), &s.parts[i], s); err != nil {
			return err
		}
	}
	return s.writer.Close()
}

// Start implements images.Sink.
func (s *byteRanges) Start(from, to, size int64) {
	if !s.started {
		s.begin()
		s.size = size
		header := s.w.Header()
		header.Set("Content-Type", "multipart/byteranges; boundary="+s.writer.Boundary())
		header.Set("Content-Length", strconv.FormatInt(s.length(), 10))
		s.w.WriteHeader(http.StatusPartialContent)
	}
	if size != s.size {
		s.err = fmt.Errorf("the blob has %d bytes, and had %d before", size, s.size)
		return
	}
	s.part, s.err = s.writer.CreatePart(partHeader(from, to, size))
}

// Write implements images.Sink.
func (s *byteRanges) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.part.Write(b)
}

// ReadFrom implements io.ReaderFrom.
func (s *byteRanges) ReadFrom(r io.Reader) (int64, error) {
	if s.err != nil {
		return 0, s.err
	}
	return io.Copy(s.part, r)
}

func partHeader(from, to, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{
		"Content-Range": {contentRange(from, to, size)},
		"Content-Type":  {blobType},
	}
}

// length returns the number of bytes of the answer.
func (s *byteRanges) length() int64 {
	var n byteCounter
	w := multipart.NewWriter(&n)
	_ = w.SetBoundary(s.writer.Boundary()) // which is valid
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

var _ images.Sink = (*byteRanges)(nil)
