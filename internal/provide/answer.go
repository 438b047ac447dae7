package provide

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A refusal is an answer that says why a request is refused. It is not a Failure.
type refusal struct {
	status  int
	message string
}

func (e *refusal) Error() string { return e.message }

// A Failure is the reason why a request could not be answered. Nothing was written. Err may
// name files, so clients do not see it.
type Failure struct {
	Status int
	Err    error
}

func (f *Failure) Error() string { return f.Err.Error() }

func (f *Failure) Unwrap() error { return f.Err }

// refuse writes the answer to an error. If the error is a failure of the provider, it returns
// a *Failure instead.
func (p *Provider) refuse(w http.ResponseWriter, r *Request, err error) error {
	answer := &refusal{status: http.StatusNotFound}
	said, isAnswer := errors.AsType[*refusal](err)
	denied, isDenied := errors.AsType[*denylist.Denied](err)
	failed, isFailed := errors.AsType[*storeError](err)
	switch {
	case isAnswer:
		answer = said
	case isDenied:
		p.config.Refused(err)
		p.log(r, "refused", zap.String("rule", denied.Rule()))
		answer = &refusal{denied.Status, denied.Error()}
	case r.Context().Err() != nil:
		return &Failure{statusClientClosed, err}
	case errors.Is(err, budget.ErrFull):
		w.Header().Set("Retry-After", strconv.Itoa(int(budget.Wait/time.Second)))
		return &Failure{http.StatusServiceUnavailable, err}
	case isFailed:
		return &Failure{http.StatusInternalServerError, failed}
	case errors.Is(err, store.ErrLacking):
		answer.message = "this content is not in the store"
	case errors.Is(err, fs.ErrNotExist):
		answer.message = "there is nothing at this path"
	default:
		answer.message = "this cannot be read: " + err.Error()
	}
	header := w.Header()
	for _, name := range []string{"ETag", "Content-Disposition", "Content-Security-Policy"} {
		header.Del(name)
	}
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	body := answer.message + "\n"
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, body) // fails for a client that left
	}
	return nil
}

// statusClientClosed is the status of a request whose client has left, as in Caddy and nginx.
const statusClientClosed = 499

func (p *Provider) log(r *Request, message string, fields ...zap.Field) {
	if c := p.config.Logger.Check(zap.DebugLevel, message); c != nil {
		c.Write(append(fields, zap.String("kind", string(r.Kind)), zap.String("path", r.URL.Path))...)
	}
}

// setContent sets the header fields of content that never changes.
func (r *Request) setContent(w http.ResponseWriter, mediaType, name, etag string) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	header.Set("ETag", etag)
	header.Set("Cache-Control", r.cacheScope()+", max-age=29030400, immutable, no-transform")
}

// cacheScope returns "private" if the client may have shown credentials.
func (r *Request) cacheScope() string {
	if r.Private {
		return "private"
	}
	return "public"
}

// isKnown reports whether the client has content with this entity tag.
func (r *Request) isKnown(etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

// withoutBody answers a HEAD request, or a client that already has the content, and reports
// whether it did. The header fields must be set.
func (r *Request) withoutBody(w http.ResponseWriter) bool {
	switch {
	case r.isKnown(w.Header().Get("ETag")):
		w.Header().Del("Content-Type")
		w.Header().Del("Content-Length")
		w.WriteHeader(http.StatusNotModified)
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusOK)
	default:
		return false
	}
	return true
}

// cut ends an answer that has begun and cannot be finished. It closes the connection, so that
// the client does not take a part for the whole.
func (p *Provider) cut(r *Request, err error) {
	denied, isDenied := errors.AsType[*denylist.Denied](err)
	switch {
	case isDenied:
		p.config.Refused(err)
		p.log(r, "refused", zap.String("rule", denied.Rule()))
	case errors.Is(err, store.ErrLacking):
		p.log(r, "answer cut off", zap.Error(err))
	case r.Context().Err() == nil:
		p.config.Logger.Error("answer cut off", zap.String("kind", string(r.Kind)), zap.String("path", r.URL.Path), zap.Error(err))
	}
	panic(http.ErrAbortHandler)
}

// small is the size, in bytes, up to which content in memory is not counted.
const small = 64 << 10

// hold takes memory for n bytes until they are sent. If other requests need the memory, a
// client that reads slowly loses its connection.
func hold(w http.ResponseWriter, r *Request, n int) (release func(), err error) {
	if n <= small {
		return func() {}, nil
	}
	cutOff := func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now()) } // where the server can
	return budget.Documents().Lend(r.Context(), int64(n), cutOff)
}
