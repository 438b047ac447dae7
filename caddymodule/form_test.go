package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// withOCI adds an image that is an OCI layout, without a tag.
func (im *images) withOCI(t *testing.T, name string) *images {
	t.Helper()
	d := digest.FromBytes(im.manifest)
	return im.with(t, map[string][]byte{
		name + "/index.json":                  fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q}]}`, d),
		name + "/oci-layout":                  []byte("{}"),
		name + "/blobs/sha256/" + d.Encoded(): im.manifest,
	})
}

// Below the root, images have their names in whatever form they are, and a tag
// only if they are tagged.
func TestRootOfForms(t *testing.T) {
	im := newImages(t).withOCI(t, "oci")
	s := newSite(t, Handler{Store: &Store{Directory: im.store(t)}, Catalog: true, Root: &Root{Address: im.root.String()}})
	_, body := s.get(t, 200, "/v2/_catalog")
	if got := strings.TrimSpace(string(body)); got != `{"repositories":["oci","old","team/app"]}` {
		t.Error(got)
	}
	s.get(t, 200, "/v2/oci/manifests/"+digest.FromBytes(im.manifest).String())
	s.get(t, 200, im.manifests(t, "oci", "latest"))
	s.get(t, 200, "/v2/old/manifests/latest")
	checkError(t, s, http.MethodGet, "/v2/oci/manifests/latest", "MANIFEST_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, "/v2/old/manifests/latest-v2", "MANIFEST_UNKNOWN", 404)
}

// What a trusted gateway says of one tag is not remembered for what the image is.
func TestFormIsNobodysWord(t *testing.T) {
	im := newImages(t).withOCI(t, "oci")
	liar := im.gateway(t)
	liar.images = &images{root: im.root, files: map[string][]byte{layout.ManifestPath("oci", "latest"): im.artifact}}
	s := newSite(t, gateways(liar))
	s.get(t, 200, im.manifests(t, "oci", "latest"))
	if form, known := s.handler.forms.Get(layout.Image{Root: im.root, Name: "oci"}); known {
		t.Errorf("the form of the image is known: %v", form)
	}
}

// What image2ipfs broke is the image's fault, and not the store's.
func TestBrokenImageInTheStore(t *testing.T) {
	im := newImages(t)
	layer := digest.FromBytes(im.layer)
	config := []byte(`{"rootfs":{"diff_ids":["` + layer.String() + `"]}}`)
	im = im.with(t, map[string][]byte{
		layout.BlobPath("broken", digest.FromBytes(config)): config,
		layout.ManifestPath("broken", "latest-v2"): fmt.Appendf(nil, `{"mediaType":%q,"config":{"digest":%q},"layers":[{"mediaType":%q,"digest":%q}]}`,
			layout.DockerManifest, digest.FromBytes(config), layout.DockerLayerGzip, layer),
	})
	s := newSite(t, Handler{Store: &Store{Directory: im.store(t)}})
	checkError(t, s, http.MethodGet, im.manifests(t, "broken", "latest"), "MANIFEST_INVALID", 400)
	if logged := s.logged("store failed"); len(logged) > 0 {
		t.Errorf("logged %v", logged[0].ContextMap())
	}
}
