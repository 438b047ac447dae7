package trustless

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Gateways that do not serve files as they are are not asked for one with every
// blob, which would cost a round trip, unless nothing else helps.
func TestRefusedFormComesLast(t *testing.T) {
	pub := publish(t, unixfs.V1)
	s := session(pub)
	var refusals atomic.Int64
	s.Failed = func(f gateway.Failure) {
		if errors.Is(f, gateway.ErrRefused) {
			refusals.Add(1)
		}
	}
	for _, step := range []struct {
		what    string
		refuses map[gateway.Format]bool
		want    int64
	}{
		{"the first time", map[gateway.Format]bool{gateway.Plain: true}, 1},
		{"the second time", map[gateway.Format]bool{gateway.Plain: true}, 0},
		{"when it serves nothing else", map[gateway.Format]bool{gateway.CAR: true, gateway.Raw: true}, -1},
	} {
		pub.refuses = step.refuses
		refusals.Store(0)
		var k sink
		if err := s.Copy(t.Context(), pub.at("app/blobs/b"), nil, &k); err != nil || !bytes.Equal(k.Bytes(), pub.blob) {
			t.Errorf("%s: %d bytes, %v", step.what, k.Len(), err)
		}
		if got := refusals.Load(); got != step.want && step.want >= 0 {
			t.Errorf("%s: %d refusals", step.what, got)
		}
	}
}
