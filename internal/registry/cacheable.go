package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// immutable returns the Cache-Control of content that never changes: its digest or address,
// name, is in the URL that the client requested. If it is not, because the server rewrote
// the URL, the same URL may lead to other content tomorrow.
func immutable(r Request, name string) string {
	if r.Original != nil && !strings.Contains(r.Original.Path, name) {
		return revalidated(r)
	}
	return cacheScope(r) + ", max-age=31536000, immutable, no-transform"
}

// immutable is immutable for what is requested by digest. In an own root it can be deleted,
// and a client that pushes must not be told by a cache that it is there.
func (q request) immutable(r Request, name string) string {
	if q.Own {
		return revalidated(r)
	}
	return immutable(r, name)
}

// cacheControl returns the Cache-Control of content found by a path. Below a CID it never
// changes, below a name it may be kept until the name is looked up again, and below the
// root it must be revalidated, because the root may be another one tomorrow.
func (q request) cacheControl(r Request) string {
	switch {
	case q.isNamed() && !q.Own:
		return cacheUntil(r, q.expires)
	case q.rooted, q.Own:
		return revalidated(r)
	}
	return immutable(r, addressOf(q.repository))
}

// cacheUntil returns the Cache-Control of content that may be kept until a time.
func cacheUntil(r Request, expires time.Time) string {
	rest := max(0, time.Until(expires)) / time.Second
	return fmt.Sprintf("%s, max-age=%d, no-transform", cacheScope(r), rest)
}

// revalidated returns the Cache-Control of content that may change. A client may use its
// copy after the registry has confirmed it.
func revalidated(r Request) string { return cacheScope(r) + ", no-cache, no-transform" }

// cacheScope returns "private", which keeps an answer out of shared caches, if the client
// may have sent credentials to this handler or to one before it.
func cacheScope(r Request) string {
	if r.Private || ShowsCredentials(r.Request) {
		return "private"
	}
	return "public"
}

// ShowsCredentials reports whether a request has an Authorization or Cookie header, or a TLS
// client certificate.
func ShowsCredentials(r *http.Request) bool {
	return r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

// setContent sets the header fields of every answer with content, or about content.
func setContent(w http.ResponseWriter, d digest.Digest, mediaType string) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", d.String())
	header.Set("ETag", etagOf(d))
}

func etagOf(d digest.Digest) string { return `"` + d.String() + `"` }

// condition returns the status with which a request's preconditions replace content of the
// entity tag, or 0 if the client gets the content.
func condition(r Request, etag string) int {
	if tags := r.Header.Values("If-Match"); len(tags) > 0 && !isTag(tags, func(tag string) bool { return tag == etag }) {
		return http.StatusPreconditionFailed
	}
	if tags := r.Header.Values("If-None-Match"); isTag(tags, func(tag string) bool { return strings.TrimPrefix(tag, "W/") == etag }) {
		return http.StatusNotModified
	}
	return 0
}

// isTag reports whether one of the listed entity tags is "*" or the right one.
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

// serveBytes answers with content in memory. Its header fields must be set.
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
