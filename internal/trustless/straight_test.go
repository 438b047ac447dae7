package trustless

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// known returns a session with gateways that are known to serve no files, which
// knows nothing of what they have.
func known(t *testing.T, nodes ...*published) Session {
	t.Helper()
	for _, n := range nodes {
		n.refuses = map[gateway.Format]bool{gateway.Plain: true}
	}
	s := session(nodes...)
	var k sink
	if err := s.Copy(t.Context(), nodes[0].at("app/blobs/empty"), nil, &k); err != nil {
		t.Fatal(err)
	}
	if !s.pool.Refuses(gateway.Plain) {
		t.Fatal("it is not known that no gateway serves files")
	}
	s.Client = NewClient(Config{Pool: s.pool})
	return s
}

// From a gateway that is known to give blocks only, a file takes one request.
func TestOneRequestForBlocks(t *testing.T) {
	for _, p := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		pub := publish(t, p)
		s := known(t, pub)
		var requests atomic.Int64
		pub.damage = func(_ gateway.Format, body []byte) []byte {
			requests.Add(1)
			return body
		}
		var k sink
		err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, &k)
		if err != nil || !bytes.Equal(k.Bytes(), pub.blob) || k.to != int64(len(pub.blob)) || k.starts != 1 || requests.Load() != 1 {
			t.Errorf("%s: %d bytes in %d requests, %v", p, k.Len(), requests.Load(), err)
		}
	}
}

// If a CAR has a false block or ends early, its correct blocks are still used.
func TestBlocksThatBreakOff(t *testing.T) {
	const places = 12
	pub, liar := publishOf(t, unixfs.V0, 300_000, 3), publishOf(t, unixfs.V0, 300_000, 3)
	for _, spoil := range []func(body []byte, at int) []byte{
		func(body []byte, at int) []byte { body[at] ^= 1; return body },
		func(body []byte, at int) []byte { return body[:at] },
	} {
		for at := range places {
			liar.damage = nil
			s := known(t, liar, pub)
			var lies atomic.Int64
			liar.damage = func(f gateway.Format, body []byte) []byte {
				if f != gateway.CAR {
					return body
				}
				lies.Add(1)
				return spoil(body, at*len(body)/places)
			}
			var k sink
			if err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, &k); err != nil || !bytes.Equal(k.Bytes(), pub.blob) || k.starts != 1 {
				t.Errorf("place %d: %d bytes after %d starts, %v", at, k.Len(), k.starts, err)
			}
			if lies.Load() == 0 {
				t.Errorf("place %d: nobody lied", at)
			}
		}
	}
}

// A gateway that has stopped serving CARs may give blocks.
func TestBlocksWithoutCARs(t *testing.T) {
	pub := publish(t, unixfs.V1)
	s := known(t, pub)
	pub.refuses[gateway.CAR] = true
	var k sink
	if err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, &k); err != nil || !bytes.Equal(k.Bytes(), pub.blob) {
		t.Errorf("%d bytes, %v", k.Len(), err)
	}
}
