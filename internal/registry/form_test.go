package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Images below the root have their names in every form, and a tag only if they are tagged.
func TestRootOfForms(t *testing.T) {
	im := imagestest.New(t).WithOCI(t, "oci")
	s := newSite(t, setup{stores: []string{im.Store(t)}, catalog: true, root: im.Root.String()})
	_, body := s.get(t, 200, "/v2/_catalog")
	if got := strings.TrimSpace(string(body)); got != `{"repositories":["oci","old","team/app"]}` {
		t.Error(got)
	}
	s.get(t, 200, "/v2/oci/manifests/"+digest.FromBytes(im.Manifest).String())
	s.get(t, 200, im.ManifestURL(t, "oci", "latest"))
	s.get(t, 200, "/v2/old/manifests/latest")
	checkError(t, s, http.MethodGet, "/v2/oci/manifests/latest", "MANIFEST_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, "/v2/old/manifests/latest-v2", "MANIFEST_UNKNOWN", 404)
}

// An image that image2ipfs wrote wrong is not reported as a failure of the store.
func TestBrokenImageInTheStore(t *testing.T) {
	im := imagestest.New(t)
	layer := digest.FromBytes(im.Layer)
	config := []byte(`{"rootfs":{"diff_ids":["` + layer.String() + `"]}}`)
	im = im.With(t, map[string][]byte{
		layout.BlobPath("broken", digest.FromBytes(config)): config,
		layout.ManifestPath("broken", "latest-v2"): fmt.Appendf(nil, `{"mediaType":%q,"config":{"digest":%q},"layers":[{"mediaType":%q,"digest":%q}]}`,
			layout.DockerManifest, digest.FromBytes(config), layout.DockerLayerGzip, layer),
	})
	s := newSite(t, stored(t, im))
	checkError(t, s, http.MethodGet, im.ManifestURL(t, "broken", "latest"), "MANIFEST_INVALID", 400)
	if logged := s.logged("store failed"); len(logged) > 0 {
		t.Errorf("logged %v", logged[0].ContextMap())
	}
}
