package trustless

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The nodes of a file are requested once, whichever parts of it clients want afterwards,
// and however many of them at the same time.
func TestFilesAreRemembered(t *testing.T) {
	for _, p := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		pub := publish(t, p)
		s := session(pub)
		if err := pub.check(t, s); err != nil {
			t.Fatal(err)
		}
		s.blocks.Clear()
		pub.refuses = map[gateway.Format]bool{gateway.CAR: true, gateway.Raw: true}
		s.Failed = func(f gateway.Failure) { t.Error(f) }
		for _, part := range []*gateway.Range{nil, {First: 5, Last: 250_000}} {
			var k sink
			if err := s.Copy(t.Context(), pub.at("app/blobs/b"), part, &k); err != nil || int64(k.Len()) != k.to-k.from {
				t.Errorf("%s: %d bytes, %v", p, k.Len(), err)
			}
		}
	}
}

// A slow gateway that sends the whole file instead of a part may take as long as it needs
// while its bytes are right.
func TestGatewayWithoutRangesMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pub, whole := publish(t, unixfs.V1), publish(t, unixfs.V1)
		pub.damage = func(f gateway.Format, body []byte) []byte {
			if f == gateway.Plain {
				body[len(body)/2] ^= 1
			}
			return body
		}
		var slow fake = func(r *http.Request) *http.Response {
			if r.URL.Query().Get("format") != "" {
				return status(http.StatusNotAcceptable)(r)
			}
			body := bytes.NewReader(whole.blob)
			resp := response(200, nil, body)
			resp.Body = io.NopCloser(readerFunc(func(b []byte) (int, error) {
				select {
				case <-time.After(gateway.Patience * 9 / 10):
					return body.Read(b[:min(len(b), 200)]) // a leaf
				case <-r.Context().Done():
					return 0, r.Context().Err()
				}
			}))
			return resp
		}
		s := sessionWith(pub.fake(), slow)
		var k sink
		strikes := 0
		s.Failed = func(f gateway.Failure) {
			if f.Strike {
				strikes++
			}
		}
		err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, &k)
		if err != nil || !bytes.Equal(k.Bytes(), pub.blob) || strikes != 1 {
			t.Errorf("%d bytes, %v, %d strikes", k.Len(), err, strikes)
		}
	})
}
