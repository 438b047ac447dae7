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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// An observation collects the data about one request for the server's operator:
// placeholders, fields of the access log and of the trace, and metrics. The answer is
// written through it as an http.ResponseWriter, so it knows the result.
type observation struct {
	*caddyhttp.ResponseWriterWrapper
	request  *http.Request
	replacer *caddy.Replacer

	subject registry.Subject
	known   bool // whether subject is
	origin  atomic.Value

	status int
	sent   int64
}

// placeholders is the prefix of the module's placeholders.
const placeholders = "http.ipfs_registry."

// observe begins to observe a request.
func observe(w http.ResponseWriter, r *http.Request) *observation {
	o := &observation{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		request:               r,
		replacer:              r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer),
	}
	for _, n := range o.notes() {
		o.replacer.Set(placeholders+n.key, "")
	}
	return o
}

// Asked implements registry.Observation.
func (o *observation) Asked(s registry.Subject) {
	o.subject, o.known = s, true
	for _, n := range o.notes() {
		o.replacer.Set(placeholders+n.key, n.value)
	}
}

// From implements registry.Observation.
func (o *observation) From(origin images.Origin) {
	o.origin.Store(string(origin))
	o.replacer.Set(placeholders+"source", string(origin))
}

func (o *observation) source() string {
	s, _ := o.origin.Load().(string)
	return s
}

type note struct{ key, value string }

// notes returns the known values about the request. Each has a placeholder, even if it is
// empty.
func (o *observation) notes() []note {
	s := o.subject
	return []note{{"kind", s.Kind}, {"cid", s.CID}, {"name", s.Name}, {"reference", s.Reference}, {"source", o.source()}, {"address", s.Address}}
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
	if s := o.source(); s != "" && o.status < 300 {
		metrics.sentBytes.WithLabelValues(s).Add(float64(n))
	}
}

// end records the result of the request: the error that Caddy gets, if any, and whether
// the handler returned. It panics instead of returning to cut the connection.
func (o *observation) end(err error, returned bool) {
	kind := "other"
	if o.known {
		kind = o.subject.Kind
		o.publish()
	}
	metrics.requests.WithLabelValues(kind, o.result(err, returned)).Inc()
}

// publish adds the notes to the access log and to the trace.
func (o *observation) publish() {
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

// result returns the outcome as a metric's label.
func (o *observation) result(err error, returned bool) string {
	if !returned || o.isCut() {
		if o.request.Context().Err() != nil {
			return resultClientClosed
		}
		return resultCutOff
	}
	status := o.status
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		status = failed.StatusCode
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	switch status {
	case 0, http.StatusOK, http.StatusPartialContent, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return resultOK
	case http.StatusNotModified:
		return resultNotModified
	case http.StatusTemporaryRedirect:
		return resultRedirected
	case http.StatusNotFound:
		return resultNotFound
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return resultDenied
	case http.StatusMethodNotAllowed:
		return resultReadOnly
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return resultGatewayError
	case registry.StatusClientClosedRequest:
		return resultClientClosed
	}
	if status < 500 {
		return resultBadRequest
	}
	return resultError
}

// isCut reports whether the answer has fewer bytes than its header announced.
func (o *observation) isCut() bool {
	if o.request.Method == http.MethodHead || o.status >= 300 {
		return false
	}
	size, err := strconv.ParseInt(o.Header().Get("Content-Length"), 10, 64)
	return err == nil && o.sent < size
}

// Interface guards
var (
	_ http.ResponseWriter  = (*observation)(nil)
	_ io.ReaderFrom        = (*observation)(nil)
	_ registry.Observation = (*observation)(nil)
)
