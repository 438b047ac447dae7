package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// blobType is the media type of all blobs. Manifests say what they are.
const blobType = "application/octet-stream"

// A delivery is the images.Sink that writes a blob to a client.
type delivery struct {
	w       http.ResponseWriter
	r       Request
	q       request
	cache   string // Cache-Control
	maxGap  int64  // how many bytes between two parts are read rather than left out
	isPart  bool   // whether the client wants one part
	started bool
	isLeft  bool // the client has closed the connection
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

// begin sets the header fields that all answers about the blob have.
func (d *delivery) begin() {
	d.started = true
	setContent(d.w, d.q.Digest, blobType)
	d.w.Header().Set("Accept-Ranges", "bytes")
	d.w.Header().Set("Cache-Control", d.cache)
}

// Write implements images.Sink.
func (d *delivery) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	d.isLeft = d.isLeft || err != nil
	return n, err
}

// ReadFrom implements io.ReaderFrom, for files.
func (d *delivery) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(d.w, r)
	d.isLeft = d.isLeft || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
	return n, err
}

// withoutBody answers HEAD, and preconditions that want a status instead of the blob. It
// fails if there is no blob.
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

func contentRange(from, to, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)
}

var _ images.Sink = (*delivery)(nil)
