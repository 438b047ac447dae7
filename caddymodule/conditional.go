package caddymodule

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// What is here makes preconditions and ranges mean the same wherever content
// comes from.

// serveContent answers with content that is at hand, whose header is set.
func serveContent(w http.ResponseWriter, r *http.Request, d digest.Digest, content io.ReadSeeker) {
	if status := condition(r, etag(d)); status != 0 {
		writeCondition(w, status)
		return
	}
	if r.Header.Get("Range") != "" && wantedRanges(r, etag(d)) == nil {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	http.ServeContent(fileWriter{w}, r, "", time.Time{}, content)
}

// condition returns the status of the answer that a request's preconditions want
// in place of content with the entity tag, 0 if they want the content.
func condition(r *http.Request, etag string) int {
	if tags := r.Header.Values("If-Match"); len(tags) > 0 && !isTag(tags, func(tag string) bool { return tag == etag }) {
		return http.StatusPreconditionFailed
	}
	if tags := r.Header.Values("If-None-Match"); isTag(tags, func(tag string) bool { return strings.TrimPrefix(tag, "W/") == etag }) {
		return http.StatusNotModified
	}
	return 0
}

// isTag reports whether one of the listed entity tags is right.
func isTag(headers []string, right func(string) bool) bool {
	for tag := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || right(tag) {
			return true
		}
	}
	return false
}

func writeCondition(w http.ResponseWriter, status int) {
	header := w.Header()
	header.Del("Content-Type")
	if status == http.StatusPreconditionFailed {
		header.Del("ETag")
		header.Del("Docker-Content-Digest")
		header.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
}

// wantedRanges returns the parts that a client wants, nil for the whole: if it
// has another content than this, by If-Range, or if the header makes no sense or
// too many parts, and then is to be ignored. Only GET has ranges.
func wantedRanges(r *http.Request, etag string) []gateway.Range {
	valid := r.Header.Get("If-Range")
	if r.Method != http.MethodGet || valid != "" && valid != etag {
		return nil
	}
	list, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || strings.Count(list, ",") >= maxParts {
		return nil
	}
	parts := strings.Split(list, ",")
	ranges := make([]gateway.Range, len(parts))
	for i, part := range parts {
		if ranges[i], ok = gateway.ParseRange("bytes=" + strings.TrimSpace(part)); !ok {
			return nil
		}
	}
	return ranges
}
