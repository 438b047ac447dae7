package registry

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// put puts files into the own root of a store, as another process would; empty ones are
// removed.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	_, err := store.Open(dir).Root().Change(t.Context(), func(ctx context.Context, d *store.Draft) error {
		changes := map[string]*unixfs.Node{}
		for path, content := range files {
			if content == "" {
				changes[path] = nil
				continue
			}
			file, err := d.AddFile([]byte(content))
			if err != nil {
				return err
			}
			changes[path] = &file
		}
		return d.Edit(ctx, changes)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each request sees the own root as it is then, though another process changes it.
func TestOwnRootFollowsChanges(t *testing.T) {
	dir := t.TempDir()
	im := imagestest.New(t)
	gw := im.Gateway(t)
	s := newSite(t, setup{stores: []string{dir}, ownRoot: true, catalog: true, gateways: []*imagestest.Gateway{gw}})
	image := string(im.Artifact)
	d := digest.FromString(image).String()

	checkError(t, s, http.MethodGet, "/v2/team/app/manifests/v1", "MANIFEST_UNKNOWN", 404)
	if _, body := s.get(t, 404, "/v2/team/app/manifests/v1"); !strings.Contains(string(body), "there is no manifest v1 of team/app") {
		t.Errorf("%s", body)
	}
	checkError(t, s, http.MethodGet, "/v2/team/app/tags/list", "NAME_UNKNOWN", 404)
	if _, body := s.get(t, 200, "/v2/team/app/referrers/"+d); !strings.Contains(string(body), `"manifests":[]`) {
		t.Errorf("the referrers in an empty root are %s", body)
	}
	if _, body := s.get(t, 200, "/v2/_catalog"); strings.TrimSpace(string(body)) != `{"repositories":[]}` {
		t.Errorf("an empty root has %s", body)
	}

	put(t, dir, map[string]string{layout.ManifestPath("team/app", "v1"): image, layout.ManifestPath("team/app", d): image})
	resp, body := s.get(t, 200, "/v2/team/app/manifests/v1")
	if string(body) != image || resp.Header.Get("Cache-Control") != "public, no-cache, no-transform" {
		t.Errorf("the manifest is %s, with Cache-Control %q", body, resp.Header.Get("Cache-Control"))
	}
	byDigest, _ := s.get(t, 200, "/v2/team/app/manifests/"+d)
	alone, err := store.Open(dir).Root().Alone(t.Context(), "team/app")
	for _, h := range []http.Header{resp.Header, byDigest.Header} {
		if got := h.Get("X-Ipfs-Path"); err != nil || got != "/ipfs/"+alone.String() {
			t.Errorf("the answer tells the path %q, want %s, %v", got, alone, err)
		}
	}
	if _, body := s.get(t, 200, "/v2/_catalog"); strings.TrimSpace(string(body)) != `{"repositories":["team/app"]}` {
		t.Errorf("the root has %s", body)
	}

	put(t, dir, map[string]string{layout.ManifestPath("team/app", "v1"): "", layout.ManifestPath("team/app", d): ""})
	checkError(t, s, http.MethodGet, "/v2/team/app/manifests/v1", "MANIFEST_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, "/v2/team/app/manifests/"+d, "MANIFEST_UNKNOWN", 404)
	if asked := gw.Asked(); len(asked) > 0 {
		t.Errorf("a gateway was asked for %s", asked[0].URL)
	}
}

// In the own root nothing is an alias: a tag is what was put there under that name.
func TestOwnRootIsLiteral(t *testing.T) {
	dir := t.TempDir()
	im := imagestest.New(t)
	s := newSite(t, setup{stores: []string{dir}, ownRoot: true})
	image := string(im.Artifact)
	d := digest.FromString(image).String()
	put(t, dir, map[string]string{
		layout.ManifestPath("one", "v1"):        image,
		layout.ManifestPath("one", "latest"):    image,
		layout.ManifestPath("one", d):           image,
		layout.ManifestPath("two", "latest-v2"): image,
		layout.ManifestPath("two", "latest-v1"): image,
		layout.ManifestPath("two", d):           image,
	})
	for path, want := range map[string]string{
		"one": `{"name":"one","tags":["latest","v1"]}`,
		"two": `{"name":"two","tags":["latest-v1","latest-v2"]}`,
	} {
		if _, body := s.get(t, 200, "/v2/"+path+"/tags/list"); strings.TrimSpace(string(body)) != want {
			t.Errorf("the tags are %s, want %s", body, want)
		}
	}
	for path, status := range map[string]int{
		"one/manifests/latest": 200, "one/manifests/v1": 200, "one/manifests/latest-v2": 404,
		"two/manifests/latest": 404, "two/manifests/latest-v2": 200, "two/manifests/latest-v1": 200, "two/manifests/" + d: 200,
	} {
		s.get(t, status, "/v2/"+path)
	}
}

// No allow list need name a state of the own root, and deny lists hold there.
func TestListsOfTheOwnRoot(t *testing.T) {
	dir := t.TempDir()
	im := imagestest.New(t)
	image := string(im.Artifact)
	put(t, dir, map[string]string{layout.ManifestPath("one", "v1"): image, layout.ManifestPath("two", "v1"): image + " "})
	state, err := store.Open(dir).Root().Current()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, setup{stores: []string{dir}, ownRoot: true, catalog: true, allow: im.Root.String(), deny: "/ipfs/" + state.String() + "/two"})
	s.get(t, 200, "/v2/one/manifests/v1")
	checkError(t, s, http.MethodGet, "/v2/two/manifests/v1", "DENIED", 410)
	checkError(t, s, http.MethodGet, "/v2/"+state.String()+"/one/manifests/v1", "DENIED", 403)
	if _, body := s.get(t, 200, "/v2/_catalog"); strings.TrimSpace(string(body)) != `{"repositories":["one"]}` {
		t.Errorf("the catalog has %s", body)
	}
}

// The own root is also found by its IPNS name, whichever names are allowed. The registry asks
// no gateway about it.
func TestOwnRootByItsName(t *testing.T) {
	dir := t.TempDir()
	im := imagestest.New(t)
	gw := im.Gateway(t)
	image := string(im.Artifact)
	d := digest.FromString(image).String()
	name, err := store.Open(dir).Root().EnsureKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, setup{stores: []string{dir}, push: &Push{Anonymous: true}, gateways: []*imagestest.Gateway{gw}, allow: im.Root.String(), deny: "/ipns/" + name + "/two"})
	below := "/v2/ipns/" + name
	checkError(t, s, http.MethodGet, below+"/one/manifests/v1", "MANIFEST_UNKNOWN", 404)

	put(t, dir, map[string]string{layout.ManifestPath("one", "v1"): image, layout.ManifestPath("one", d): image, layout.ManifestPath("two", "v1"): image})
	resp, body := s.get(t, 200, below+"/one/manifests/v1")
	if string(body) != image || resp.Header.Get("Cache-Control") != "public, no-cache, no-transform" {
		t.Errorf("the manifest is %s, with Cache-Control %q", body, resp.Header.Get("Cache-Control"))
	}
	if _, body := s.get(t, 200, below+"/one/tags/list"); strings.TrimSpace(string(body)) != `{"name":"ipns/`+name+`/one","tags":["v1"]}` {
		t.Errorf("the tags are %s", body)
	}
	s.get(t, 200, below+"/one/manifests/"+d)
	checkError(t, s, http.MethodGet, below+"/two/manifests/v1", "DENIED", 410)
	checkError(t, s, http.MethodPut, below+"/one/manifests/v2", "DENIED", 403)

	put(t, dir, map[string]string{layout.ManifestPath("one", "v1"): "", layout.ManifestPath("one", d): ""})
	checkError(t, s, http.MethodGet, below+"/one/manifests/v1", "MANIFEST_UNKNOWN", 404)
	if asked := gw.Asked(); len(asked) > 0 {
		t.Errorf("a gateway was asked for %s", asked[0].URL)
	}
}
