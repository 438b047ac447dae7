package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// An observation is what is noted of one request, for whoever runs the server:
// placeholders, fields of the access log and of the trace, and metrics. It is the
// http.ResponseWriter that the request is answered through, so that it knows what
// became of it. A nil one notes nothing.
type observation struct {
	*caddyhttp.ResponseWriterWrapper
	request  *http.Request
	replacer *caddy.Replacer

	about  request
	known  bool // whether that is so
	source atomic.Value

	status int
	sent   int64
}

// A source is where content came from.
type source string

const (
	sourceStore   source = "store"
	sourceGateway source = "gateway"
)

// observed is answer under observation.
func observed(w http.ResponseWriter, r *http.Request, answer func(http.ResponseWriter, *http.Request) error) (err error) {
	o := &observation{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		request:               r,
		replacer:              r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer),
	}
	for _, key := range []string{"cid", "name", "reference", "kind", "source"} {
		o.replacer.Set(placeholders+key, "")
	}
	finished := false // not if there is a panic, by which connections are cut
	defer func() { o.end(err, finished) }()
	err = answer(o, r)
	finished = true
	return err
}

// observe notes what the request is that w answers.
func observe(w http.ResponseWriter, q request) *observation {
	o, _ := w.(*observation)
	o.is(q)
	return o
}

// is notes what the request is, as far as that is known by now.
func (o *observation) is(q request) {
	if o == nil {
		return
	}
	o.about, o.known = q, true
	for _, n := range o.notes() {
		o.replacer.Set(placeholders+n.key, n.value)
	}
}

// from notes where the content comes from, as far as that is known by now.
func (o *observation) from(s source) {
	if o == nil {
		return
	}
	o.source.Store(s)
	o.replacer.Set(placeholders+"source", string(s))
}

func (o *observation) cameFrom() source {
	s, _ := o.source.Load().(source)
	return s
}

// placeholders is how the names of ours begin.
const placeholders = "http.ipfs_registry."

type note struct{ key, value string }

// notes are what the request is. There are placeholders for all of them, be they
// empty.
func (o *observation) notes() []note {
	q := o.about
	reference := q.reference
	if reference == "" {
		reference = q.digest.String()
	}
	root := ""
	if q.image.Root.Defined() {
		root = q.image.Root.String()
	}
	return []note{{"kind", q.kind.String()}, {"cid", root}, {"name", q.image.Name}, {"reference", reference}, {"source", string(o.cameFrom())}}
}

// WriteHeader implements http.ResponseWriter.
func (o *observation) WriteHeader(status int) {
	if o.status == 0 && status >= 200 {
		o.status = status
	}
	o.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (o *observation) Write(b []byte) (int, error) {
	n, err := o.ResponseWriterWrapper.Write(b)
	o.wrote(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (o *observation) ReadFrom(r io.Reader) (int64, error) {
	n, err := o.ResponseWriterWrapper.ReadFrom(r)
	o.wrote(n)
	return n, err
}

func (o *observation) wrote(n int64) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	o.sent += n
	if s := o.cameFrom(); s != "" && o.status < 300 {
		metrics.sentBytes.WithLabelValues(string(s)).Add(float64(n))
	}
}

// end notes what became of the request.
func (o *observation) end(err error, finished bool) {
	kind := "other"
	if o.known {
		kind = o.about.kind.String()
		o.tell()
	}
	metrics.requests.WithLabelValues(kind, o.result(err, finished)).Inc()
}

// tell adds the notes to the access log, and to the trace.
func (o *observation) tell() {
	notes := o.notes()
	if extra, ok := o.request.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		fields := make([]zap.Field, len(notes))
		for i, n := range notes {
			fields[i] = zap.String(n.key, n.value)
		}
		extra.Set(zap.Dict("ipfs_registry", fields...))
	}
	if span := trace.SpanFromContext(o.request.Context()); span.IsRecording() {
		for _, n := range notes {
			span.SetAttributes(attribute.String(attributes+n.key, n.value))
		}
	}
}

func (o *observation) result(err error, finished bool) string {
	gone := o.request.Context().Err() != nil
	switch {
	case (!finished || o.isCut()) && gone:
		return resultClientClosed
	case !finished || o.isCut():
		return resultCutOff
	}
	status := o.status
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		status = failed.StatusCode
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	switch status {
	case 0, http.StatusOK, http.StatusPartialContent:
		return resultOK
	case http.StatusNotModified:
		return resultNotModified
	case http.StatusTemporaryRedirect:
		return resultRedirected
	case http.StatusNotFound:
		return resultNotFound
	case http.StatusForbidden, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return resultDenied
	case http.StatusMethodNotAllowed:
		return resultReadOnly
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return resultGatewayError
	case clientClosedRequest:
		return resultClientClosed
	}
	if status < 500 {
		return resultBadRequest
	}
	return resultError
}

// isCut reports whether the answer has less than its header said.
func (o *observation) isCut() bool {
	if o.request.Method == http.MethodHead || o.status >= 300 {
		return false
	}
	size, err := strconv.ParseInt(o.Header().Get("Content-Length"), 10, 64)
	return err == nil && o.sent < size
}

// Interface guards
var (
	_ http.ResponseWriter = (*observation)(nil)
	_ io.ReaderFrom       = (*observation)(nil)
)

// String is what operators know a kind by.
func (k kind) String() string {
	switch k {
	case kindBase:
		return "base"
	case kindManifest:
		return "manifest"
	case kindBlob:
		return "blob"
	case kindTags:
		return "tags"
	case kindReferrers:
		return "referrers"
	case kindCatalog:
		return "catalog"
	}
	return "other"
}
