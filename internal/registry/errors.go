package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// An errorCode is an error of the distribution specification, with the HTTP status that goes
// with it.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
type errorCode struct {
	name   string
	status int
}

var (
	codeNameInvalid     = errorCode{"NAME_INVALID", http.StatusBadRequest}
	codeNameUnknown     = errorCode{"NAME_UNKNOWN", http.StatusNotFound}
	codeManifestUnknown = errorCode{"MANIFEST_UNKNOWN", http.StatusNotFound}
	codeManifestInvalid = errorCode{"MANIFEST_INVALID", http.StatusBadRequest}
	codeBlobUnknown     = errorCode{"BLOB_UNKNOWN", http.StatusNotFound}
	codeDigestInvalid   = errorCode{"DIGEST_INVALID", http.StatusBadRequest}
	codeUnsupported     = errorCode{"UNSUPPORTED", http.StatusMethodNotAllowed}
	codeBadQuery        = errorCode{"UNSUPPORTED", http.StatusBadRequest}

	codeUnauthorized        = errorCode{"UNAUTHORIZED", http.StatusUnauthorized}
	codeManifestBlobUnknown = errorCode{"MANIFEST_BLOB_UNKNOWN", http.StatusNotFound}
	codeManifestTooLarge    = errorCode{"MANIFEST_INVALID", http.StatusRequestEntityTooLarge}
	codeUploadUnknown       = errorCode{"BLOB_UPLOAD_UNKNOWN", http.StatusNotFound}
	codeUploadInvalid       = errorCode{"BLOB_UPLOAD_INVALID", http.StatusBadRequest}
	codeUploadBusy          = errorCode{"BLOB_UPLOAD_INVALID", http.StatusConflict}
	codeUploadRange         = errorCode{"BLOB_UPLOAD_INVALID", http.StatusRequestedRangeNotSatisfiable}
	codeUploadStalled       = errorCode{"BLOB_UPLOAD_INVALID", http.StatusRequestTimeout}
	codeSizeInvalid         = errorCode{"SIZE_INVALID", http.StatusBadRequest}
	codeBlobTooLarge        = errorCode{"SIZE_INVALID", http.StatusRequestEntityTooLarge}

	// Content that the lists refuse. A 404 would make users look for mistakes in a
	// correct address, and a 401 would make clients ask for a password.
	codeNotAllowed = errorCode{"DENIED", http.StatusForbidden}
	codeGone       = errorCode{"DENIED", http.StatusGone}
	codeLegal      = errorCode{"DENIED", http.StatusUnavailableForLegalReasons}

	// A part of the protocol that a registry need not offer. Clients go on without it
	// when it is not found.
	codeNotOffered = errorCode{"UNSUPPORTED", http.StatusNotFound}
)

// Errors of requests that may succeed the next time. The specification has codes for
// some of them; the others are those of Docker's registry.
const (
	nameUnavailable = "UNAVAILABLE"
	nameTooMany     = "TOOMANYREQUESTS"
	nameUnknown     = "UNKNOWN"
)

// A protocolError is an answer of the protocol, written to the client, and not a
// failure of the registry.
type protocolError struct {
	code    errorCode
	message string
}

func (e *protocolError) Error() string { return e.code.name + ": " + e.message }

func isNotFound(err error) bool {
	e, ok := errors.AsType[*protocolError](err)
	return ok && e.code.status == http.StatusNotFound
}

// StatusClientClosedRequest is the status of a request whose client has left, as in
// Caddy and nginx.
const StatusClientClosedRequest = 499

// A Failure is the reason why a request could not be answered. Nothing was written. Err
// may name gateways and files, so clients do not see it.
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
	return writeError(w, r, errorCode{f.code, f.Status}, f.message+"; the registry's log says why, under "+id)
}

// uncacheable is the Cache-Control of errors, which must not be cached.
const uncacheable = "no-store, no-transform"

func writeError(w http.ResponseWriter, r *http.Request, c errorCode, message string) error {
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := encode(map[string][]item{"errors": {{c.name, message}}})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", uncacheable)
	if c.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="push", charset="UTF-8"`)
	}
	return writeJSON(w, r, c.status, body)
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
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
