package registry

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// blobType is the media type of all blobs. Manifests say what they are.
const blobType = "application/octet-stream"

// A delivery is the images.Sink that is a client.
type delivery struct {
	w       http.ResponseWriter
	r       Request
	q       request
	cache   string // Cache-Control
	isPart  bool   // whether it is one part that the client wants
	started bool
}

// copy writes the blob, or parts of it.
func (d *delivery) copy(b images.Blob, parts []images.Range) error {
	switch len(parts) {
	case 0:
		return b.Copy(d.r.Context(), nil, d)
	case 1:
		d.isPart = true
		return b.Copy(d.r.Context(), &parts[0], d)
	}
	return newByteRanges(d, parts).copy(b)
}

// Start implements images.Sink.
func (d *delivery) Start(f images.File, from, to int64) {
	d.begin()
	header, status := d.w.Header(), http.StatusOK
	header.Set("Content-Length", strconv.FormatInt(to-from, 10))
	if d.isPart {
		header.Set("Content-Range", contentRange(from, to, f.Size))
		status = http.StatusPartialContent
	}
	d.w.WriteHeader(status)
}

// begin sets the header of an answer with the blob, or with parts of it.
func (d *delivery) begin() {
	d.started = true
	setContent(d.w, d.q.Digest, blobType)
	d.w.Header().Set("Accept-Ranges", "bytes")
	d.w.Header().Set("Cache-Control", d.cache)
}

// Write implements images.Sink.
func (d *delivery) Write(b []byte) (int, error) { return d.w.Write(b) }

// ReadFrom implements io.ReaderFrom, for files.
func (d *delivery) ReadFrom(r io.Reader) (int64, error) { return io.Copy(d.w, r) }

// withoutBody answers HEAD, and preconditions that want a status in place of the blob.
// Both are answered so only if there is a blob.
func (d *delivery) withoutBody(b images.Blob, status int) error {
	size, err := b.Size(d.r.Context())
	if err != nil {
		return err
	}
	d.begin()
	if status != 0 {
		d.w.Header().Del("Accept-Ranges")
		writeCondition(d.w, status)
		return nil
	}
	d.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	d.w.WriteHeader(http.StatusOK)
	return nil
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
func (s *byteRanges) Start(f images.File, from, to int64) {
	if !s.started {
		s.begin()
		s.size = f.Size
		header := s.w.Header()
		header.Set("Content-Type", "multipart/byteranges; boundary="+s.writer.Boundary())
		header.Set("Content-Length", strconv.FormatInt(s.length(), 10))
		s.w.WriteHeader(http.StatusPartialContent)
	}
	if f.Size != s.size {
		s.err = fmt.Errorf("the blob has %d bytes, and had %d before", f.Size, s.size)
		return
	}
	s.part, s.err = s.writer.CreatePart(partHeader(from, to, f.Size))
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

// Interface guards
var (
	_ images.Sink = (*delivery)(nil)
	_ images.Sink = (*byteRanges)(nil)
)
