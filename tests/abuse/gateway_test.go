package abuse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A gateway serves a dag as raw blocks, CARs and plain files. It writes all answers
// while it walks: some would fill every memory.
type gateway struct {
	*httptest.Server
	dag
	sent   atomic.Int64             // bytes of bodies
	asked  sync.Map                 // paths
	record func(name string) []byte // of an IPNS key

	rate    int                                                             // bytes a second for each answer; 0 for no bound
	pause   func(context.Context)                                           // before each 64 KiB; may be nil
	instead func(w http.ResponseWriter, r *http.Request, root cid.Cid) bool // answers, or returns false; may be nil
}

func newGateway(t *testing.T, d dag) *gateway {
	t.Helper()
	g := &gateway{dag: d}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	t.Cleanup(g.CloseClientConnections)
	return g
}

// ServeHTTP implements http.Handler.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.asked.Store(r.URL.Path, true)
	if key, named := strings.CutPrefix(r.URL.Path, "/ipns/"); named {
		w.Header().Set("Content-Type", "application/vnd.ipfs.ipns-record")
		w.Write(g.record(key))
		return
	}
	root, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c, err := cid.Decode(root)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w = &counted{ResponseWriter: w, gateway: g, began: time.Now(), ctx: r.Context()}
	if g.instead != nil && g.instead(w, r, c) {
		return
	}
	switch r.URL.Query().Get("format") {
	case "raw":
		w.Header().Set("Content-Type", "application/vnd.ipld.raw")
		b, err := g.get(c)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Write(b.data)
	case "car":
		w.Header().Set("Content-Type", "application/vnd.ipld.car; version=1; order=dfs; dups=y")
		g.writeCAR(w, r, c, path)
	case "":
		g.writeFile(w, r, c, path)
	default:
		http.Error(w, "no such form", http.StatusNotAcceptable)
	}
}

// writeCAR writes the blocks of a path, and those of what it leads to.
func (g *gateway) writeCAR(answer io.Writer, r *http.Request, root cid.Cid, path string) {
	w := bufio.NewWriterSize(answer, 64<<10) // some leaves have one byte
	defer w.Flush()
	writeSection(w, carHeader(root))
	put := func(_ context.Context, c cid.Cid) ([]byte, error) {
		b, err := g.get(c)
		if err == nil && c.Prefix().MhType != mh.IDENTITY {
			err = writeSection(w, c.Bytes(), b.data)
		}
		return b.data, err
	}
	at, err := unixfs.Walk(r.Context(), put, root, path)
	if err != nil {
		return // the blocks so far prove it, or prove nothing
	}
	if r.URL.Query().Get("dag-scope") != "entity" {
		put(r.Context(), at)
		return
	}
	from, to := int64(0), int64(1)<<62
	var last int64
	if n, _ := fmt.Sscanf(r.URL.Query().Get("entity-bytes"), "%d:%d", &from, &last); n == 2 && last >= 0 {
		to = last + 1
	}
	g.walk(at, from, to, func(c cid.Cid, _ block) error {
		_, err := put(r.Context(), c)
		return err
	})
}

// carHeader is {"roots": [root], "version": 1} as CBOR.
func carHeader(root cid.Cid) []byte {
	b := append([]byte("\xa2\x65roots\x81\xd8\x2a\x58"), byte(len(root.Bytes())+1), 0)
	return append(append(b, root.Bytes()...), "\x67version\x01"...)
}

func writeSection(w io.Writer, parts ...[]byte) error {
	section := bytes.Join(parts, nil)
	_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(section))), section...))
	return err
}

// walk visits the blocks of a file that have bytes of [from, to), or all of a
// directory, depth first.
func (g *gateway) walk(c cid.Cid, from, to int64, visit func(cid.Cid, block) error) error {
	b, err := g.get(c)
	if err != nil {
		return err
	}
	if err := visit(c, b); err != nil {
		return err
	}
	at := int64(0)
	for _, l := range b.links {
		end := at + int64(l.bytes)
		below := b.kind == shard && len(l.name) == 2 || b.kind == file && (end > from && at < to || l.bytes == 0)
		if below {
			if err := g.walk(l.cid, from-at, to-at, visit); err != nil {
				return err
			}
		}
		at = end
	}
	return nil
}

// writeFile writes a file, or the part of it that a Range header asks for.
func (g *gateway) writeFile(w http.ResponseWriter, r *http.Request, root cid.Cid, path string) {
	get := func(_ context.Context, c cid.Cid) ([]byte, error) {
		b, err := g.get(c)
		return b.data, err
	}
	at, err := unixfs.Walk(r.Context(), get, root, path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	size, err := g.size(at)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	from, to, status := int64(0), size, http.StatusOK
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
		to, status = min(to+1, size), http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(to-from))
	w.WriteHeader(status)
	body := bufio.NewWriterSize(w, 64<<10)
	defer body.Flush()
	g.content(body, at, from, to)
}

var errNoFile = errors.New("not a file")

func (g *gateway) size(c cid.Cid) (n int64, err error) {
	b, err := g.get(c)
	switch {
	case err != nil:
		return 0, err
	case b.kind == leaf:
		return int64(len(b.data)), nil
	case b.kind != file:
		return 0, errNoFile
	}
	for _, l := range b.links {
		n += int64(l.bytes)
	}
	return n, nil
}

func (g *gateway) content(w io.Writer, c cid.Cid, from, to int64) error {
	b, err := g.get(c)
	if err != nil {
		return err
	}
	if b.kind == leaf {
		_, err := w.Write(b.data[max(0, from):min(to, int64(len(b.data)))])
		return err
	}
	at := int64(0)
	for _, l := range b.links {
		end := at + int64(l.bytes)
		if end > from && at < to {
			if err := g.content(w, l.cid, from-at, to-at); err != nil {
				return err
			}
		}
		at = end
	}
	return nil
}

// A counted answer counts its bytes and keeps to the gateway's rate.
type counted struct {
	http.ResponseWriter
	gateway *gateway
	ctx     context.Context
	began   time.Time
	n       int
}

func (w *counted) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		part := b
		if rate := w.gateway.rate; rate > 0 {
			part = b[:min(len(b), 64<<10)]
			due := w.began.Add(time.Duration(w.n) * time.Second / time.Duration(rate))
			select {
			case <-time.After(time.Until(due)):
			case <-w.ctx.Done():
				return written, w.ctx.Err()
			}
		}
		if pause := w.gateway.pause; pause != nil {
			w.Flush()
			pause(w.ctx)
		}
		n := 0
		n, err = w.ResponseWriter.Write(part)
		w.gateway.sent.Add(int64(n))
		w.n += n
		written += n
		b = b[n:]
	}
	return written, err
}

// Flush implements http.Flusher.
func (w *counted) Flush() { w.ResponseWriter.(http.Flusher).Flush() }
