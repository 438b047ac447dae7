package trustless

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// serve returns a server that gives what a gateway gives, a piece each interval.
func serve(t *testing.T, f fake, piece int, interval time.Duration) *url.URL {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := f.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		http.NewResponseController(w).Flush()
		for buf := make([]byte, piece); ; {
			n, err := resp.Body.Read(buf)
			select {
			case <-time.After(interval):
			case <-r.Context().Done():
				return
			}
			w.Write(buf[:n])
			http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A gateway that gives a right leaf before its patience ends, again and again, could take
// hours for a blob.
func TestTarpitIsOvertakenByAFastGateway(t *testing.T) {
	const patience = 900 * time.Millisecond
	for name, refuses := range map[string]map[gateway.Format]bool{
		"files": {}, "CARs": {gateway.Plain: true}, "blocks": {gateway.Plain: true, gateway.CAR: true},
	} {
		pub := publishOf(t, unixfs.V1, 40_000, 3)
		pub.refuses = refuses
		slow, fast := serve(t, pub.fake(), 300, patience/2), serve(t, pub.fake(), 1<<20, 0)
		transport := new(http.Transport)
		t.Cleanup(transport.CloseIdleConnections)
		pool := gateway.NewPool(gateway.Config{
			Groups: []gateway.Group{
				{Upstreams: []*url.URL{slow}, Transport: transport},
				{Upstreams: []*url.URL{fast}, Transport: transport},
			},
			Patience: patience,
		})
		s := Session{Client: NewClient(Config{Pool: pool})}
		began := time.Now()
		data, err := s.ReadFile(t.Context(), pub.root, "app/manifests/v1", 1000)
		if err != nil || !bytes.Equal(data, pub.manifest) {
			t.Errorf("%s: the manifest is %q, %v", name, data, err)
		}
		var k sink
		if err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, &k); err != nil || !bytes.Equal(k.Bytes(), pub.blob) || k.starts != 1 {
			t.Errorf("%s: %d bytes after %d starts, %v", name, k.Len(), k.starts, err)
		}
		// Alone, the tarpit takes a minute for these 134 pieces.
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: %s", name, took)
		}
		t.Logf("%s: %s", name, time.Since(began))
	}
}
