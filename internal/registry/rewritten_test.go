package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// A tag whose visible URL has no address may be another image tomorrow. Content by digest
// never changes, as long as the client's URL has the digest.
func TestRewrittenURLIsImmutableOnlyByDigest(t *testing.T) {
	im := imagestest.New(t)
	d := digest.FromBytes(im.Manifest)
	s := newSite(t, stored(t, im))
	s.rewrite = func(r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "/mine/", "/"+im.Repository(t, ours)+"/", 1)
		r.URL.Path = strings.Replace(r.URL.Path, "/stable", "/"+d.String(), 1)
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/below")
	}
	for path, want := range map[string]string{
		"/v2/mine/manifests/v1":                                        again,
		"/v2/mine/manifests/stable":                                    again,
		"/v2/mine/manifests/" + d.String():                             forever,
		"/v2/mine/blobs/" + digest.FromBytes(im.Config).String():       forever,
		"/v2/mine/tags/list":                                           again,
		"/v2/mine/referrers/" + d.String():                             again,
		im.ManifestURL(t, ours, "v1"):                                  forever,
		"/below" + im.ManifestURL(t, ours, "v1"):                       forever,
		"/below" + im.ManifestURL(t, ours, d.String()):                 forever,
		"/v2/" + im.Repository(t, ours) + "/tags/list":                 forever,
		"/v2/ipfs/" + im.Repository(t, ours) + "/referrers/" + aDigest: again, // there are none
	} {
		if resp, _ := s.get(t, 200, path); resp.Header.Get("Cache-Control") != want {
			t.Errorf("%s: Cache-Control: %s, want %s", path, resp.Header.Get("Cache-Control"), want)
		}
	}
	resp, _ := s.get(t, 200, "/below/v2/mine/tags/list?n=1")
	if link := resp.Header.Get("Link"); link != `</below/v2/mine/tags/list?last=index&n=1>; rel="next"` {
		t.Errorf("Link: %s", link)
	}
}

// A mirror confirms which registry's image it serves, in the client's own spelling.
func TestMirrorAnswersTheNamespace(t *testing.T) {
	_, s := newRoot(t, "docker.io", "r.test:5000")
	for ns, status := range map[string]int{
		"docker.io":            200,
		"DOCKER.IO":            200,
		"docker.io:443":        200,
		"index.docker.io":      200,
		"registry-1.docker.io": 200,
		"r.test:5000":          200,
		"r.test":               404,
		"quay.io":              404,
	} {
		for _, path := range []string{"/v2/app/manifests/v1", "/v2/app/tags/list"} {
			resp, _ := s.get(t, status, path+"?ns="+ns)
			want := ns
			if status != 200 {
				want = ""
			}
			if got := resp.Header.Get("OCI-Namespace"); got != want {
				t.Errorf("%s?ns=%s: OCI-Namespace: %q, want %q", path, ns, got, want)
			}
		}
	}
	s.get(t, 200, "/v2/library/app/manifests/v1?ns=registry-1.docker.io")
	resp, _ := s.get(t, 200, "/v2/app/manifests/v1")
	if got, there := resp.Header["Oci-Namespace"]; there {
		t.Errorf("OCI-Namespace without ns: %q", got)
	}
}
