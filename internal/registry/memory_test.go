package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A slowClient is a client that could wait for a long time at its first byte.
type slowClient struct {
	*httptest.ResponseRecorder
	held []int64 // bytes of the process's budget at each write
}

// Write waits, as a slow client does, until nothing is held or a second is over.
func (c *slowClient) Write(b []byte) (int, error) {
	for began := time.Now(); budget.Process().Held() != 0 && time.Since(began) < time.Second; {
		runtime.Gosched()
	}
	c.held = append(c.held, budget.Process().Held())
	return c.ResponseRecorder.Write(b)
}

// deny is a list that refuses nothing of these tests, for which every place is checked.
const deny = "/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi\n"

// What was read to find an answer holds no memory while a client takes the answer, however
// slowly.
func TestSlowClientsHoldNoMemoryOfDirectories(t *testing.T) {
	im := imagestest.New(t).WithOCI(t, "oci")
	im = im.With(t, map[string][]byte{"oci/blobs/sha256/" + digest.FromBytes(im.Layer).Encoded(): im.Layer})
	for _, list := range []string{"", deny} {
		s := newSite(t, setup{gateways: []*imagestest.Gateway{im.Gateway(t)}, deny: list})
		for _, path := range []string{
			im.BlobURL(t, im.Layer),
			im.ManifestURL(t, ours, "v1"),
			"/v2/" + im.Repository(t, ours) + "/tags/list",
			"/v2/" + im.Repository(t, "oci") + "/blobs/" + digest.FromBytes(im.Layer).String(),
		} {
			client := &slowClient{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			if err := s.registry.Serve(client, Request{Request: r, Original: r.URL}); err != nil || client.Code != http.StatusOK {
				t.Fatalf("%s: %d, %v", path, client.Code, err)
			}
			for _, n := range client.held {
				if n != 0 {
					t.Errorf("%s: %d bytes are held while the client takes the answer; lists: %q", path, n, list)
					break
				}
			}
		}
	}
}

// Where lists apply, each tag is checked. One check after the other takes the same memory.
func TestTagsThatAreCheckedTakeLittleMemory(t *testing.T) {
	defer budget.Process().SetLimit(budget.Process().Limit())
	budget.Process().SetLimit(16 << 20)
	im := imagestest.New(t)
	files := map[string][]byte{}
	for i := range 400 {
		files[layout.ManifestPath(ours, fmt.Sprintf("v1.0.%d", i))] = im.Manifest
	}
	im = im.With(t, files)
	s := newSite(t, setup{
		gateways: []*imagestest.Gateway{im.Gateway(t)},
		deny:     "/ipfs/" + im.Root.String() + "/" + layout.ManifestPath(ours, "v1.0.399") + "\n",
	})
	_, body := s.get(t, http.StatusOK, "/v2/"+im.Repository(t, ours)+"/tags/list")
	var list struct{ Tags []string }
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Tags) < 400 || slices.Contains(list.Tags, "v1.0.399") || !slices.Contains(list.Tags, "v1.0.398") {
		t.Errorf("%d tags are listed", len(list.Tags))
	}
}
