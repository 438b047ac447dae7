package fill

import (
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// All clients share a fill, so a gateway that gives right leaves slowly would delay all of
// them.
func TestFillFromATarpitGoesOnAtAFastGateway(t *testing.T) {
	const size, rate = 2 << 20, 64 << 10
	content := random(70, size)
	im, blob := one(t, content)
	slow, fast := &testGateway{images: []*image{im}, limiter: newLimiter(rate)}, &testGateway{images: []*image{im}}
	b := serveGroups(t, t.TempDir(), 10*size, gateway.Config{
		Groups:   []gateway.Group{groupOf(t, slow), groupOf(t, fast)},
		Patience: 3 * time.Second,
	})
	began := time.Now()
	if err := b.get(t.Context(), blob, content, nil); err != nil {
		t.Error(err)
	}
	if slow.bytes.Load() == 0 {
		t.Fatal("the slow gateway was not asked")
	}
	if took := time.Since(began); took > size/rate*time.Second/2 {
		t.Errorf("%s, and %s from the slow gateway alone", took, size/rate*time.Second)
	}
	if sent := slow.bytes.Load() + fast.bytes.Load(); sent > size*5/4 {
		t.Errorf("%d bytes were sent for %d: what the slow gateway gave was not kept", sent, size)
	}
	if err := b.get(t.Context(), blob, content, nil); err != nil || slow.asked.Load()+fast.asked.Load() > 8 {
		t.Errorf("the blob is not kept: %v", err)
	}
}
