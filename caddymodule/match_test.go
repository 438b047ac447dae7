package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// No spelling of an image's address gets past a guard by ipfs_image.
func TestMatcherLeavesNoSpellingUnguarded(t *testing.T) {
	im := imagestest.New(t)
	m := MatchImage{Addresses: []string{im.Repository(t, "")}}
	if err := m.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, Handler{Store: &Store{Directory: im.Store(t)}})
	spellings, err := cidname.Spellings(im.Root)
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for _, spelling := range spellings {
		for _, address := range []string{spelling.Text, strings.ToUpper(spelling.Text), "ipfs/" + spelling.Text, "ipfs/ipfs/" + spelling.Text, "/" + spelling.Text, spelling.Text + "/", "%2e/" + spelling.Text} {
			for _, rest := range []string{"/manifests/latest", "/" + imagestest.Ours + "/manifests/v1", "/" + imagestest.Ours + "/tags/list", "/%74eam/app/manifests/v1"} {
				r := httptest.NewRequest(http.MethodGet, "http://x/v2/"+address+rest, nil)
				rec := httptest.NewRecorder()
				r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), rec, nil)
				guarded, err := m.MatchWithError(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.handler.ServeHTTP(rec, r, nil); err != nil {
					t.Fatal(err)
				}
				if rec.Code == http.StatusOK {
					served++
				}
				if rec.Code == http.StatusOK && !guarded {
					t.Errorf("%s is served without the guard", r.URL)
				}
			}
		}
	}
	if served < 4*4 { // ciq…, bafy…, k2… and f01…
		t.Errorf("%d requests are served", served)
	}
}
