package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// A code is an error of the distribution specification, with the HTTP status
// that goes with it.
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

	// What this registry does not serve, to anybody. Not 404, by which people
	// would look for mistakes in an address that has none; and not 401, by which
	// clients would ask for a password.
	codeNotAllowed = code{"DENIED", http.StatusForbidden}
	codeGone       = code{"DENIED", http.StatusGone}
	codeLegal      = code{"DENIED", http.StatusUnavailableForLegalReasons}

	// A part of the protocol that a registry may do without. Clients do without
	// it too when it is not found.
	codeNotOffered = code{"UNSUPPORTED", http.StatusNotFound}

	// What may be right the next time, for which the specification has no codes.
	// These are Docker's registry's.
	codeUnavailable = code{"UNAVAILABLE", http.StatusBadGateway}
	codeTimeout     = code{"UNAVAILABLE", http.StatusGatewayTimeout}
)

// A registryError is an answer of the protocol, not a failure of ours: it is
// written to the client, and Caddy's error routes never see it.
type registryError struct {
	code    code
	message string
}

func (e *registryError) Error() string { return e.code.name + ": " + e.message }

func (e *registryError) write(w http.ResponseWriter, r *http.Request) error {
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // people read it
	if err := encoder.Encode(map[string][]item{"errors": {{e.code.name, e.message}}}); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Cache-Control", unchecked)
	if e.code.status == http.StatusMethodNotAllowed {
		header.Set("Allow", "GET, HEAD")
	}
	return writeJSON(w, r, e.code.status, body.Bytes())
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // fails if the client left, which is nobody's fault
	}
	return nil
}
