package operating

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Placeholders describe the request to the site's other handlers and to the access log.
func TestPlaceholdersAreSetLoggedAndDocumented(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	store := t.TempDir()
	keys := []string{"cid", "name", "reference", "kind", "source", "address"}
	var site strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&site, "header >X-%s {http.ipfs_registry.%[1]s}\nlog_append %[1]s {http.ipfs_registry.%[1]s}\n", key)
	}
	fmt.Fprintf(&site, "ipfs_registry %s {\nstore %s {\nmax_size off\n}\n}\n", kubo.Gateway, store)
	o := harness.NewOperated(t, site.String())
	archive := harness.ArchiveOfLayers(t, "team/app:v1", harness.Noise(300_000))
	near := harness.Convert(t, archive, "--store="+store, "--registry="+o.URL)
	m, digest := harness.FetchManifest(t, near)
	far := harness.Convert(t, harness.ArchiveOfLayers(t, "far:v1", harness.Noise(200_000)), "--ipfs-api="+kubo.API, "--registry="+o.URL)

	for path, want := range map[string]map[string]string{
		o.URL + "/v2/": {"kind": "base"},
		harness.Repository(near) + "/manifests/v1":             {"kind": "manifest", "cid": harness.CIDv1(t, harness.Address(near)), "name": "team/app", "reference": "v1", "source": "store"},
		harness.Repository(near) + "/manifests/" + digest:      {"kind": "manifest", "cid": harness.CIDv1(t, harness.Address(near)), "name": "team/app", "reference": digest, "source": "store"},
		harness.Repository(near) + "/blobs/" + m.Config.Digest: {"kind": "blob", "cid": harness.CIDv1(t, harness.Address(near)), "name": "team/app", "reference": m.Config.Digest, "source": "store"},
		harness.Repository(far) + "/manifests/v1":              {"kind": "manifest", "cid": harness.CIDv1(t, harness.Address(far)), "name": "far", "reference": "v1", "source": "gateway"},
		harness.Repository(far) + "/blobs/" + layer(t, far):    {"kind": "blob", "cid": harness.CIDv1(t, harness.Address(far)), "name": "far", "reference": layer(t, far), "source": "gateway"},
	} {
		all := map[string]string{"cid": "", "name": "", "reference": "", "source": "", "address": ""}
		maps.Copy(all, want)
		resp := harness.Get(t, path)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, resp.Text)
		}
		for _, key := range keys {
			if got := resp.Header.Get("X-" + key); got != all[key] {
				t.Errorf("%s: %s is %q in the header, want %q", path, key, got, all[key])
			}
		}
		line := o.Access(t, strings.TrimPrefix(path, o.URL))
		var appended map[string]any
		var entry struct {
			Fields map[string]string `json:"ipfs_registry"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || !maps.Equal(entry.Fields, all) {
			t.Errorf("%s is logged with %v, want %v", path, entry.Fields, all)
		}
		json.Unmarshal([]byte(line), &appended)
		for _, key := range keys {
			if appended[key] != all[key] {
				t.Errorf("%s: log_append gets %v for %s, want %v", path, appended[key], key, all[key])
			}
		}
	}
	page := harness.ReadFile(t, harness.InRepo("docs/operations.md"))
	for _, key := range keys {
		if !strings.Contains(page, "`{http.ipfs_registry."+key+"}`") {
			t.Errorf("docs/operations.md lacks %s", key)
		}
	}
}

// layer returns the digest of an image's first layer.
func layer(t *testing.T, ref string) string {
	t.Helper()
	m, _ := harness.FetchManifest(t, ref)
	return m.Layers[0].Digest
}
