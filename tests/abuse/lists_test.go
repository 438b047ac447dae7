package abuse

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Lists hold for all that an answer is made of: what is denied is not served as a part
// of something else, named, or fetched.
func TestListsHoldForAllThatAnAnswerIsMadeOf(t *testing.T) {
	harness.Parallel(t)
	d := dag{}
	subject, secret := anyDigest(7), anyDigest(1001)
	fallback := strings.Replace(subject, ":", "-", 1)
	layer := d.raw(noise(1, 1<<10))
	layerDigest := digest(noise(1, 1<<10))
	m := manifestOf(layerDigest)
	manifest := d.small(m)
	referrers, tagged := d.small(indexOf(anyDigest(1000))), d.small(indexOf(secret))
	manifests := d.directory(manifest.named("v1"), manifest.named(digest([]byte(m))), tagged.named(fallback), d.small(m+" ").named("secret-tag"))
	below := d.directory(referrers.named(subject))
	root := d.directory(manifests.named("manifests"), d.directory(layer.named(layerDigest)).named("blobs"), below.named("referrers"))

	for _, c := range []struct {
		what, denied string
		path         string
		mayAnswer    bool   // with what is not denied
		never        string // in an answer
	}{
		{"an index of referrers by its CID", referrers.cid.String(), "/referrers/" + subject, true, anyDigest(1000)},
		{"the directory of referrers", below.cid.String(), "/referrers/" + subject, true, anyDigest(1000)},
		{"the fallback tag by its CID", tagged.cid.String(), "/referrers/" + subject, true, secret},
		{"the fallback tag by its path", root.cid.String() + "/manifests/" + fallback, "/referrers/" + subject, true, secret},
		{"a manifest by its CID", manifest.cid.String(), "/manifests/v1", false, layerDigest},
		{"the same by digest", manifest.cid.String(), "/manifests/" + digest([]byte(m)), false, layerDigest},
		{"the directory of manifests, whose tags are listed", manifests.cid.String(), "/tags/list", false, "v1"},
		{"the directory of manifests, which has no such tag", manifests.cid.String(), "/manifests/none", false, "v1"},
		{"a tag by its path, beside one that is absent", root.cid.String() + "/manifests/secret-tag", "/manifests/none", true, "secret-tag"},
		{"a tag by its path, and all are listed", root.cid.String() + "/manifests/secret-tag", "/tags/list", true, "secret-tag"},
		{"a blob by its CID", layer.cid.String(), "/blobs/" + layerDigest, false, string(noise(1, 1<<10))},
		{"the root, by a path that is absent", root.cid.String(), "/none/manifests/v1", false, "manifests"},
	} {
		t.Run(c.what, func(t *testing.T) {
			g := newGateway(t, d)
			list := filepath.Join(t.TempDir(), "deny")
			harness.WriteFile(t, list, "/ipfs/"+c.denied+"\n")
			site := newSite(t, true, "deny "+list, g.URL)
			resp := harness.Get(t, site.URL+"/v2/"+root.cid.String()+c.path)
			if strings.Contains(resp.Text, c.never) {
				t.Errorf("%d with what is denied: %s", resp.StatusCode, resp.Text)
			}
			if !c.mayAnswer && resp.StatusCode != http.StatusGone {
				t.Errorf("%d %s", resp.StatusCode, resp.Text)
			}
			g.mustNotBeAskedForBlobs(t, c.path)
		})
	}
}

// mustNotBeAskedForBlobs fails the test if the registry fetches blobs ahead of a client
// that was refused. The blob that the client asked for is no such blob: the registry
// has to resolve its path, since only the path is known to it and not the CID.
func (g *gateway) mustNotBeAskedForBlobs(t *testing.T, requested string) {
	t.Helper()
	g.asked.Range(func(path, _ any) bool {
		if p := fmt.Sprint(path); strings.Contains(p, "/blobs/") && !strings.HasSuffix(p, requested) {
			t.Errorf("the gateway was asked for %s", path)
		}
		return true
	})
}
