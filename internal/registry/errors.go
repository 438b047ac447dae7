package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// A code is an error of the distribution specification, with the HTTP status that goes
// with it.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
type code struct {
	name   string
	status int
}

var (
	codeNameInvalid     = code{"NAME_INVALID", http.StatusBadRequest}
	codeNameUnknown     = code{"NAME_UNKNOWN", http.StatusNotFound}
	codeManifestUnknown = code{"MANIFEST_UNKNOWN", http.StatusNotFound}
	codeManifestInvalid = code{"MANIFEST_INVALID", http.StatusBadRequest}
	codeBlobUnknown     = code{"BLOB_UNKNOWN", http.StatusNotFound}
	codeDigestInvalid   = code{"DIGEST_INVALID", http.StatusBadRequest}
	codeUnsupported     = code{"UNSUPPORTED", http.StatusMethodNotAllowed}
	codeBadQuery        = code{"UNSUPPORTED", http.StatusBadRequest}

	// What this registry serves to nobody. A 404 would make people look for mistakes
	// in an address that has none, and a 401 would make clients ask for a password.
	codeNotAllowed = code{"DENIED", http.StatusForbidden}
	codeGone       = code{"DENIED", http.StatusGone}
	codeLegal      = code{"DENIED", http.StatusUnavailableForLegalReasons}

	// A part of the protocol that a registry need not offer. Clients go on without it
	// when it is not found.
	codeNotOffered = code{"UNSUPPORTED", http.StatusNotFound}
)

// What may succeed the next time. The specification has codes for a part of it only;
// the others are those of Docker's registry.
const (
	nameUnavailable = "UNAVAILABLE"
	nameTooMany     = "TOOMANYREQUESTS"
	nameUnknown     = "UNKNOWN"
)

// A protocolError is an answer of the protocol, written to the client, and not a
// failure of the registry.
type protocolError struct {
	code    code
	message string
}

func (e *protocolError) Error() string { return e.code.name + ": " + e.message }

func isNotFound(err error) bool {
	e, ok := errors.AsType[*protocolError](err)
	return ok && e.code.status == http.StatusNotFound
}

// StatusClientClosedRequest is the status of a request that no client waits for any
// more, as Caddy and nginx have it.
const StatusClientClosedRequest = 499

// A Failure is why a request could not be answered, when nothing was written. What is
// in Err may name gateways and files, so clients are not told.
type Failure struct {
	Status     int
	RetryAfter time.Duration // how long clients are to wait; 0 if that is not known
	Err        error

	code, message string
}

func (f *Failure) Error() string { return f.Err.Error() }

func (f *Failure) Unwrap() error { return f.Err }

// Answer writes the failure in the protocol's form, for sites without error pages of
// their own. The client is told that the log has the reason under id.
func (f *Failure) Answer(w http.ResponseWriter, r *http.Request, id string) error {
	return writeError(w, Request{Request: r}, code{f.code, f.Status}, f.message+"; the registry's log says why, under "+id)
}

// answerTo returns the answer to an error of the library: a *protocolError or a
// *Failure. The answer to something that is absent, or lacking everywhere, is notFound.
func (g *Registry) answerTo(q request, err error, notFound *protocolError) error {
	e, ok := errors.AsType[*images.Error](err)
	if !ok {
		return err // an answer already
	}
	fail := func(status int, code, message string) error {
		return &Failure{Status: status, RetryAfter: e.RetryAfter, Err: err, code: code, message: message}
	}
	switch e.Class {
	case images.Absent, images.Lacking:
		return notFound
	case images.Denied:
		return g.refuse(q, e.Err)
	case images.Broken:
		return unusable(q, err)
	case images.False:
		if q.kind == kindManifest {
			return &protocolError{codeManifestInvalid, err.Error()}
		}
		return fail(http.StatusBadGateway, nameUnavailable, "the content at this address is not what its name says, wherever it comes from")
	case images.Gone:
		return fail(StatusClientClosedRequest, nameUnknown, "the client left")
	case images.Late:
		return fail(http.StatusGatewayTimeout, nameUnavailable, "no IPFS gateway of this registry answered in time")
	case images.Unavailable:
		switch e.Status {
		case http.StatusTooManyRequests:
			return fail(e.Status, nameTooMany, "the IPFS gateways of this registry want to be asked later")
		case http.StatusServiceUnavailable:
			return fail(e.Status, nameUnavailable, "the IPFS gateways of this registry want to be asked later")
		}
		return fail(http.StatusBadGateway, nameUnavailable, "no IPFS gateway of this registry could answer")
	}
	return fail(http.StatusInternalServerError, nameUnknown, "the registry failed")
}

// refuse logs the rule by which the lists refuse a request. The rule is the business of
// the list's keeper, and not of the client.
func (g *Registry) refuse(q request, err error) error {
	g.Hooks.Refused(err)
	answer, rule := &protocolError{codeNotAllowed, "this image is " + err.Error()}, zap.Skip()
	if denied, ok := errors.AsType[*denylist.Denied](err); ok {
		rule = zap.String("rule", denied.Rule())
		answer.code = codeGone
		if denied.Status == http.StatusUnavailableForLegalReasons {
			answer.code = codeLegal
		}
	}
	if c := g.Logger.Check(zap.DebugLevel, "refused"); c != nil {
		c.Write(q.Fields(rule, zap.Error(err))...)
	}
	return answer
}

// unusable is the answer that says why no client takes an image, and what to do.
func unusable(q request, err error) error {
	ref := q.Image.Root.String()
	if name, failed := cidname.Format(q.Image.Root); failed == nil {
		ref = name
	}
	return &protocolError{codeManifestInvalid, fmt.Sprintf("%v: `converter repair %s` writes the image anew", err, path.Join(ref, q.Image.Name))}
}

// finish writes a *protocolError, and returns any other error.
func (g *Registry) finish(w http.ResponseWriter, r Request, err error) error {
	if e, ok := errors.AsType[*protocolError](err); ok {
		return writeError(w, r, e.code, e.message)
	}
	if f, ok := errors.AsType[*Failure](err); ok && f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	return err
}

func writeError(w http.ResponseWriter, r Request, c code, message string) error {
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := encode(map[string][]item{"errors": {{c.name, message}}})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", uncacheable)
	if c.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	return writeJSON(w, r, c.status, body)
}

func writeJSON(w http.ResponseWriter, r Request, status int, body []byte) error {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // fails if the client left, which needs no answer
	}
	return nil
}

// encode returns the JSON of a value, with < and > as they are: people read it.
func encode(value any) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return body.Bytes(), err
}
