package registry

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// newRoot serves images by plain names: app with the tag v1 and latest as its alias,
// ipfs/app with the tag latest, and library/app.
func newRoot(t *testing.T, hosts ...string) (*imagestest.Images, *site) {
	t.Helper()
	im := imagestest.New(t)
	im = im.With(t, map[string][]byte{
		layout.ManifestPath("app", "v1"):                                   im.Manifest,
		layout.ManifestPath("app", "latest"):                               im.Manifest,
		layout.ManifestPath("ipfs/app", "latest"):                          im.Manifest,
		layout.ManifestPath("library/app", "library"):                      im.Artifact,
		layout.BlobPath("app", digest.FromBytes(im.Config)):                im.Config,
		layout.ManifestPath("app", digest.FromBytes(im.Manifest).String()): im.Manifest,
	})
	return im, newSite(t, setup{stores: []string{im.Store(t)}, catalog: true, root: im.Root.String(), hosts: hosts})
}

func TestRoot(t *testing.T) {
	im, s := newRoot(t, "docker.io", "r.test:5000")
	own := strings.TrimPrefix(s.URL, "http://")
	d := digest.FromBytes(im.Manifest).String()
	for path, status := range map[string]int{
		"app/manifests/v1":                                                     200,
		"app/manifests/v1?ns=" + own:                                           200,
		"app/manifests/v1?ns=docker.io":                                        200,
		"app/manifests/v1?ns=r.test:5000":                                      200,
		"app/manifests/v1?ns=r.test":                                           404,
		"app/manifests/v1?ns=other.test":                                       404,
		"app/manifests/" + d:                                                   200,
		"app/manifests/" + d + "?ns=docker.io":                                 200,
		"app/manifests/" + d + "?ns=other.test":                                404,
		"app/blobs/" + digest.FromBytes(im.Config).String() + "?ns=docker.io":  200,
		"app/blobs/" + digest.FromBytes(im.Config).String() + "?ns=other.test": 404,
		"app/tags/list?ns=docker.io":                                           200,
		"app/tags/list?ns=other.test":                                          404,
		"app/referrers/" + d + "?ns=docker.io":                                 200,
		"app/referrers/" + d + "?ns=other.test":                                404,

		// latest is an alias of v1, not a tag.
		"app/manifests/latest":              404,
		"app/manifests/latest?ns=docker.io": 404,
		"old/manifests/v1":                  404,

		// Docker puts library/ before names, and sends no ?ns=. In other registries,
		// library/ is a name like any other.
		"library/app/manifests/v1":                     200,
		"library/app/manifests/v1?ns=docker.io":        200,
		"library/app/manifests/library?ns=docker.io":   404,
		"library/app/manifests/library":                404,
		"library/app/manifests/library?ns=r.test:5000": 200,
		"library/app/manifests/v1?ns=r.test:5000":      404,

		// An address works whatever registry ?ns= names. A name that only begins like an
		// address is a plain name, and a misspelt address is not an address.
		im.Repository(t, "app") + "/manifests/latest":           200,
		im.Repository(t, "app") + "/manifests/v1?ns=other.test": 200,
		"ipfs/" + im.Repository(t, "app") + "/manifests/latest": 200,
		"ipfs/app/manifests/latest":                             200,
		"ipns/app/manifests/latest":                             404,
		"ipns/images.example.com/app/manifests/v1":              404,
		aKey + "/app/manifests/v1":                              404,
		im.Repository(t, "")[:54] + "x/app/manifests/v1":        404,
		"App/manifests/v1":                                      400,
		strings.Repeat("a/", 128) + "a/manifests/v1":            400,
		"absent/manifests/v1":                                   404,
	} {
		resp, body := s.get(t, status, "/v2/"+path)
		if status == 200 && strings.Contains(path, "manifests/") {
			want := im.Manifest
			if strings.Contains(path, "/library") {
				want = im.Artifact
			}
			if string(body) != string(want) && !strings.Contains(path, "library/app/manifests/v1") {
				t.Errorf("%s: %s", path, body)
			}
		}
		cache := resp.Header.Get("Cache-Control")
		switch {
		case status != 200:
		case strings.HasPrefix(path, "app/manifests/v1"), strings.HasPrefix(path, "app/tags"):
			if cache != "public, no-cache, no-transform" {
				t.Errorf("%s: Cache-Control: %s", path, cache)
			}
		case strings.Contains(path, "sha256:") && !strings.Contains(path, "referrers"):
			if !strings.Contains(cache, "immutable") {
				t.Errorf("%s: Cache-Control: %s", path, cache)
			}
		}
	}
	_, body := s.get(t, 404, "/v2/app/manifests/v1?ns=other.test")
	if !strings.Contains(string(body), "images of \\\"other.test\\\" are not served here") {
		t.Errorf("%s", body)
	}
	_, body = s.get(t, 404, "/v2/app/manifests/latest")
	if !strings.Contains(string(body), "its tags are v1") {
		t.Errorf("%s", body)
	}
}

// Without docker.io among the hosts, library/ is part of the name.
func TestRootOfOthers(t *testing.T) {
	_, s := newRoot(t, "r.test:5000")
	s.get(t, 200, "/v2/library/app/manifests/library")
	s.get(t, 404, "/v2/library/app/manifests/v1")
	s.get(t, 404, "/v2/library/app/manifests/library?ns=docker.io")
}

// Without a root, requests for images of other registries get 404.
func TestNamespaceWithoutRoot(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, stored(t, im))
	s.get(t, 200, im.ManifestURL(t, ours, "v1")+"?ns=other.test")
	_, body := s.get(t, 404, "/v2/app/manifests/v1?ns=other.test")
	if !strings.Contains(string(body), "other.test") {
		t.Errorf("%s", body)
	}
}

// A root that is a domain can move. A client that began to pull before gets the rest of
// the same image.
func TestRootIsDomain(t *testing.T) {
	im, server := imagestest.New(t), newNameServer(t)
	server.set("/ipfs/" + im.Root.String() + "/team")
	h := server.named(im.Store(t))
	h.root, h.hosts = "images.example.com", []string{"docker.io"}
	s := newSite(t, h)
	resp, _ := s.get(t, 200, "/v2/app/manifests/v1?ns=docker.io")
	if cache := resp.Header.Get("Cache-Control"); !strings.HasPrefix(cache, "public, max-age=") || strings.Contains(cache, "immutable") {
		t.Error(cache)
	}
	s.get(t, 200, "/v2/app/blobs/"+digest.FromBytes(im.Config).String())
	checkError(t, s, http.MethodGet, "/v2/ipns/other.example.com/app/manifests/v1", "NAME_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, "/v2/ipns/"+aKey+"/app/manifests/v1", "NAME_UNKNOWN", 404)
}

func TestCatalog(t *testing.T) {
	im, s := newRoot(t)
	var got struct{ Repositories []string }
	resp, body := s.get(t, 200, "/v2/_catalog")
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if want := "app ipfs/app library/app old team/app"; strings.Join(got.Repositories, " ") != want || resp.Header.Get("Cache-Control") != "public, no-cache, no-transform" {
		t.Errorf("%v, %v", got, resp.Header)
	}
	resp, body = s.get(t, 200, "/v2/_catalog?n=2&last=app")
	if link := resp.Header.Get("Link"); link != `</v2/_catalog?last=library%2Fapp&n=2>; rel="next"` || strings.TrimSpace(string(body)) != `{"repositories":["ipfs/app","library/app"]}` {
		t.Errorf("%s, Link: %s", body, link)
	}
	if strings.Contains(string(body), im.Repository(t, "")) {
		t.Errorf("%s", body)
	}
}
