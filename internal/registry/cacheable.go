package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// For how long which caches may keep an answer.

// immutable is the Cache-Control of content whose digest or address stands in the URL
// that the client asked for: it never changes. Where it does not stand there, since the
// server rewrote the URL, the same URL may mean something else tomorrow.
func immutable(r Request, name string) string {
	if r.Original != nil && !strings.Contains(r.Original.Path, name) {
		return revalidated(r)
	}
	return cacheScope(r) + ", max-age=31536000, immutable, no-transform"
}

// cacheControl is the Cache-Control of what was found at the request's path: below a
// CID it never changes, below a name it lasts as long as the name stands for the CID,
// and below the root until another root is configured.
func (q request) cacheControl(r Request) string {
	switch {
	case q.isNamed():
		return cacheUntil(r, q.expires)
	case q.rooted:
		return revalidated(r)
	}
	return immutable(r, addressOf(q.repository))
}

// cacheUntil is the Cache-Control of what a name stands for.
func cacheUntil(r Request, expires time.Time) string {
	rest := max(0, time.Until(expires)) / time.Second
	return fmt.Sprintf("%s, max-age=%d, no-transform", cacheScope(r), rest)
}

// revalidated is the Cache-Control of what may be something else the next time. A
// client's own copy is of use as long as it is still what is there.
func revalidated(r Request) string { return cacheScope(r) + ", no-cache, no-transform" }

// cacheScope keeps an answer out of shared caches if the client may have shown credentials,
// here or to a handler before this one.
func cacheScope(r Request) string {
	if r.Authorised || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return "private"
	}
	return "public"
}

// setContent sets the header of every answer that is content, or about it.
func setContent(w http.ResponseWriter, d digest.Digest, mediaType string) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", d.String())
	header.Set("ETag", etagOf(d))
}

func etagOf(d digest.Digest) string { return `"` + d.String() + `"` }

// condition returns the status of the answer that a request's preconditions want in
// place of content with the entity tag, 0 if they want the content.
func condition(r Request, etag string) int {
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

// serveBytes answers with content that is in memory, whose header is set.
func serveBytes(w http.ResponseWriter, r Request, d digest.Digest, content []byte) {
	if status := condition(r, etagOf(d)); status != 0 {
		writeCondition(w, status)
		return
	}
	whole := r.Request
	if r.Header.Get("Range") != "" && wantedRanges(r, etagOf(d)) == nil {
		whole = r.Clone(r.Context())
		whole.Header.Del("Range")
	}
	http.ServeContent(w, whole, "", time.Time{}, bytes.NewReader(content))
}
