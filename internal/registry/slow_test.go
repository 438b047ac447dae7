package registry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A stuckClient takes nothing of an answer until its server gives up.
type stuckClient struct {
	*httptest.ResponseRecorder
	isStuck, isCutOff chan struct{}
	stick, cutOff     func()
}

func newStuckClient() *stuckClient {
	c := &stuckClient{ResponseRecorder: httptest.NewRecorder(), isStuck: make(chan struct{}), isCutOff: make(chan struct{})}
	c.stick = sync.OnceFunc(func() { close(c.isStuck) })
	c.cutOff = sync.OnceFunc(func() { close(c.isCutOff) })
	return c
}

func (c *stuckClient) Write([]byte) (int, error) {
	c.stick()
	<-c.isCutOff
	return 0, os.ErrDeadlineExceeded
}

// SetWriteDeadline is for http.ResponseController.
func (c *stuckClient) SetWriteDeadline(time.Time) error {
	c.cutOff()
	return nil
}

// Clients that do not take their large manifests cannot keep other clients from theirs.
func TestSlowReadersOfManifestsDoNotStarveOthers(t *testing.T) {
	defer budget.Process().SetLimit(budget.Process().Limit())
	budget.Process().SetLimit(16 << 20)
	im := imagestest.New(t)
	im = im.With(t, map[string][]byte{layout.ManifestPath(ours, "large"): append(bytes.Clone(im.Manifest), bytes.Repeat([]byte(" "), 900<<10)...)})
	s := newSite(t, stored(t, im))
	request := func(client string) Request {
		r := httptest.NewRequestWithContext(budget.WithClient(t.Context(), client), http.MethodGet, im.ManifestURL(t, ours, "large"), nil)
		return Request{Request: r, Original: r.URL}
	}
	var slow sync.WaitGroup
	defer slow.Wait()
	for range 4 { // all that a quarter of 16 MiB has room for
		c := newStuckClient()
		defer c.cutOff()
		slow.Go(func() { _ = s.registry.Serve(c, request("stranger")) })
		<-c.isStuck
	}
	for range 3 {
		client := httptest.NewRecorder()
		if err := s.registry.Serve(client, request("honest")); err != nil || client.Code != http.StatusOK {
			t.Errorf("another client: %d, %v: %s", client.Code, err, client.Body)
		}
	}
}
