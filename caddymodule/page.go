package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/opencontainers/go-digest"
)

// pageOf returns the part of a list that a request wants, and tells the client
// where the next one is. The order is that of bytes, which all registries and the
// specification's own tests have, though it speaks of letters without case.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
func pageOf(w http.ResponseWriter, r *http.Request, all []string) ([]string, error) {
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		from, found := slices.BinarySearch(all, last)
		if found {
			from++
		}
		all = all[from:]
	}
	if !query.Has("n") {
		return all, nil
	}
	n, err := strconv.ParseUint(query.Get("n"), 10, 63)
	if err != nil {
		return nil, &registryError{codeBadQuery, fmt.Sprintf("n is how many entries are wanted, and not %.20q", query.Get("n"))}
	}
	if n == 0 {
		return nil, nil
	}
	if n < uint64(len(all)) {
		all = all[:n]
		w.Header().Set("Link", linkToNext(r, all[n-1], int(n)))
	}
	return all, nil
}

// linkToNext is where the entries after last are. Clients take no more from it
// than path and query.
func linkToNext(r *http.Request, last string, n int) string {
	query := url.Values{"last": {last}, "n": {strconv.Itoa(n)}}
	if ns := r.URL.Query().Get("ns"); ns != "" {
		query.Set("ns", ns)
	}
	to := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		to.Path = original.URL.Path // before it was rewritten on its way here
	}
	return "<" + to.String() + `>; rel="next"`
}

// serveDocument answers with JSON that was made for the request.
func serveDocument(w http.ResponseWriter, r *http.Request, mediaType, cache string, document any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return err
	}
	d := digest.FromBytes(body.Bytes())
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Cache-Control", cache)
	header.Set("ETag", etag(d))
	serveContent(w, r, d, bytes.NewReader(body.Bytes()))
	return nil
}

// notNil is the list as JSON has it, where nothing is [] and not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
