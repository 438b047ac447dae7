package registry

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// Denied content is refused under every path that leads to it and in every spelling, to
// GET and HEAD, with a store and with gateways. The gateways are not asked.
func TestDeny(t *testing.T) {
	im := imagestest.New(t)
	dir, gw := im.Store(t), im.Gateway(t)
	root := im.Root.String()
	layer := digest.FromBytes(im.Layer).String()
	all := []string{im.BlobURL(t, im.Layer), im.ManifestURL(t, ours, "v1"), im.ManifestURL(t, older, "latest"), im.ManifestURL(t, "", "latest")}
	for _, test := range []struct {
		rule    string
		refused []string // all others are served
		status  int
	}{
		{"#", nil, 0},
		{"/ipfs/" + cid.NewCidV0(im.Root.Hash()).String(), all, 410},
		{"/ipfs/" + root + "/* gateway_status=451", all, 451},
		{"/ipfs/" + root + "/" + ours, all[:2], 410},
		{"/ipfs/" + root + "/team/app/blobs/sha256%3A" + layer[7:], all[:1], 410},
		{"/ipfs/" + root + "/old/manifests/latest-v2", all[2:3], 410},
		{"/ipfs/" + root + "\n!/ipfs/" + root + "/" + ours, all[2:], 410},
	} {
		for _, s := range []*site{
			newSite(t, setup{stores: []string{dir}, deny: test.rule}),
			newSite(t, setup{gateways: []*imagestest.Gateway{gw}, deny: test.rule}),
		} {
			gw.Asked()
			for _, path := range test.refused {
				for _, spelled := range spelledOtherwise(t, im, path) {
					checkError(t, s, http.MethodGet, spelled, "DENIED", test.status)
					checkError(t, s, http.MethodHead, spelled, "DENIED", test.status)
				}
			}
			if asked := gw.Asked(); len(asked) > 0 {
				t.Errorf("%s: a gateway is asked for %s", test.rule, asked[0].URL)
			}
			if n := len(s.logged("refused")); (n == 0) != (test.refused == nil) {
				t.Errorf("%s: %d refusals logged", test.rule, n)
			}
			for _, path := range all {
				if !slices.Contains(test.refused, path) {
					s.get(t, 200, path)
				}
			}
			s.get(t, 200, "/v2/")
		}
	}
}

// spelledOtherwise returns the path with its root in every spelling that a request can
// have.
func spelledOtherwise(t testing.TB, im *imagestest.Images, path string) (all []string) {
	t.Helper()
	spellings, err := cidname.Spellings(im.Root)
	if err != nil {
		t.Fatal(err)
	}
	name := im.Repository(t, "")
	for _, s := range spellings {
		if _, err := cidname.Parse(s.Text); err == nil { // a name cannot hold a CIDv0
			all = append(all, strings.Replace(path, name, s.Text, 1), strings.Replace(path, name, "ipfs/"+s.Text, 1))
		}
	}
	return all
}

// A rule for a CID denies that blob, manifest or directory under every path that resolves
// to it.
func TestDenyResolved(t *testing.T) {
	im := imagestest.New(t)
	dir := im.Store(t)
	layer := digest.FromBytes(im.Layer)
	trail := im.Trail(t, layout.BlobPath(ours, layer))
	manifest := im.Built[layout.ManifestPath(ours, "v1")].CID
	for name, test := range map[string]struct {
		rule             string
		blob, byTag, raw int
	}{
		"blob":      {trail[len(trail)-1].String(), 410, 200, 200},
		"manifest":  {manifest.String(), 200, 410, 410},
		"directory": {trail[0].String(), 410, 410, 410},
		"path":      {trail[0].String() + "/app/blobs/" + layer.String(), 410, 200, 200},
	} {
		s := newSite(t, setup{stores: []string{dir}, deny: "/ipfs/" + test.rule})
		for path, want := range map[string]int{
			im.BlobURL(t, im.Layer):                                         test.blob,
			im.ManifestURL(t, ours, "v1"):                                   test.byTag,
			im.ManifestURL(t, ours, digest.FromBytes(im.Manifest).String()): test.raw,
		} {
			if resp, _, err := s.do(t, http.MethodGet, path); err != nil || resp.StatusCode != want {
				t.Errorf("%s denied: GET %s: %s, %v; want %d", name, path, resp.Status, err, want)
			}
		}
	}
}

// A denied name is not looked up.
func TestDenyName(t *testing.T) {
	s := newSite(t, setup{stores: []string{t.TempDir()}, names: &names.Config{Domains: []string{"example.com"}}, deny: "/ipns/example.com"})
	checkError(t, s, http.MethodGet, "/v2/ipns/example.com/manifests/latest", "DENIED", 410)
	checkError(t, s, http.MethodHead, "/v2/ipns/example.com/app/blobs/"+aDigest, "DENIED", 410)
}

// Only addresses on the allow list are served.
func TestAllow(t *testing.T) {
	im := imagestest.New(t)
	dir := im.Store(t)
	path := im.BlobURL(t, im.Layer)
	for list, status := range map[string]int{
		"# nobody\n":                          403,
		aCID + "\n":                           403,
		im.Repository(t, "") + " # ours\n":    200,
		cid.NewCidV0(im.Root.Hash()).String(): 200,
	} {
		s := newSite(t, setup{stores: []string{dir}, allow: list})
		if status == 200 {
			s.get(t, 200, path)
			continue
		}
		checkError(t, s, http.MethodGet, path, "DENIED", status)
		checkError(t, s, http.MethodHead, im.ManifestURL(t, ours, "v1"), "DENIED", status)
		s.get(t, 200, "/v2/")
	}
	s := newSite(t, setup{stores: []string{dir}, allow: im.Root.String(), deny: "/ipfs/" + im.Root.String()})
	checkError(t, s, http.MethodGet, path, "DENIED", 410)
}
