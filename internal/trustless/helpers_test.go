package trustless

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway/gatewaytest"
)

type fake = gatewaytest.Fake

var (
	status   = gatewaytest.Status
	response = gatewaytest.Response
)

func upstream(i int) *url.URL { return &url.URL{Scheme: "http", Host: string(rune('a' + i))} }

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// honest is a gateway that serves content, ranges of it as well, and sends
// every body through wrap.
func honest(content []byte, wrap func(io.Reader) io.Reader) fake {
	return func(r *http.Request) *http.Response {
		if wrap == nil {
			wrap = func(r io.Reader) io.Reader { return r }
		}
		part, ok := gateway.ParseRange(r.Header.Get("Range"))
		if !ok {
			resp := response(200, nil, wrap(bytes.NewReader(content)))
			resp.ContentLength = int64(len(content))
			return resp
		}
		size := int64(len(content))
		from, to := part.Resolve(size)
		if from >= to {
			return response(416, http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}}, strings.NewReader(""))
		}
		resp := response(206, http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)}},
			wrap(bytes.NewReader(content[from:to])))
		resp.ContentLength = to - from
		return resp
	}
}

// sink is a client that keeps what it gets.
type sink struct {
	bytes.Buffer
	starts   int
	file     File
	from, to int64
}

func (s *sink) Start(f File, from, to int64) {
	s.starts++
	s.file, s.from, s.to = f, from, to
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
