package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// What a request is for is in placeholders, for handlers before and after, and
// in the access log.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	kubo := newKubo(t)
	store := t.TempDir()
	keys := []string{"cid", "name", "reference", "kind", "source"}
	var site strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&site, "header >X-%s {http.ipfs_registry.%[1]s}\nlog_append %[1]s {http.ipfs_registry.%[1]s}\n", key)
	}
	fmt.Fprintf(&site, "ipfs_registry %s {\nstore %s {\nmax_size off\n}\n}\n", kubo.gateway, store)
	o := newOperated(t, site.String())
	archive := archiveOfLayers(t, "team/app:v1", noise(300_000))
	near := convert(t, archive, "--store="+store, "--registry="+o.registry)
	m, digest := fetchManifest(t, near)
	far := convert(t, archiveOfLayers(t, "far:v1", noise(200_000)), "--ipfs-api="+kubo.api, "--registry="+o.registry)

	for path, want := range map[string]map[string]string{
		o.registry + "/v2/":                            {"kind": "base"},
		repository(near) + "/manifests/v1":             {"kind": "manifest", "cid": cidV1(t, address(near)), "name": "team/app", "reference": "v1", "source": "store"},
		repository(near) + "/manifests/" + digest:      {"kind": "manifest", "cid": cidV1(t, address(near)), "name": "team/app", "reference": digest, "source": "store"},
		repository(near) + "/blobs/" + m.Config.Digest: {"kind": "blob", "cid": cidV1(t, address(near)), "name": "team/app", "reference": m.Config.Digest, "source": "store"},
		repository(far) + "/manifests/v1":              {"kind": "manifest", "cid": cidV1(t, address(far)), "name": "far", "reference": "v1", "source": "gateway"},
		repository(far) + "/blobs/" + layer(t, far):    {"kind": "blob", "cid": cidV1(t, address(far)), "name": "far", "reference": layer(t, far), "source": "gateway"},
	} {
		all := map[string]string{"cid": "", "name": "", "reference": "", "source": ""}
		maps.Copy(all, want)
		resp := get(t, path)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, resp.body)
		}
		for _, key := range keys {
			if got := resp.Header.Get("X-" + key); got != all[key] {
				t.Errorf("%s: %s is %q in the header", path, key, got)
			}
		}
		line := o.access(t, strings.TrimPrefix(path, o.registry))
		var appended map[string]any
		var entry struct {
			Fields map[string]string `json:"ipfs_registry"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || !maps.Equal(entry.Fields, all) {
			t.Errorf("%s is logged as %v", path, entry.Fields)
		}
		json.Unmarshal([]byte(line), &appended)
		for _, key := range keys {
			if appended[key] != all[key] {
				t.Errorf("%s: %s is %v for log_append", path, key, appended[key])
			}
		}
	}
	page := readFile(t, inRepo("docs/operations.md"))
	for _, key := range keys {
		if !strings.Contains(page, "`{http.ipfs_registry."+key+"}`") {
			t.Errorf("docs/operations.md does not have %s", key)
		}
	}
}

// layer is the digest of an image's first layer.
func layer(t *testing.T, ref string) string {
	t.Helper()
	m, _ := fetchManifest(t, ref)
	return m.Layers[0].Digest
}

// access waits for the line of the access log about a request.
func (o *operated) access(t *testing.T, path string) (line string) {
	t.Helper()
	o.await(t, "an access log line about "+path, func() bool {
		for l := range strings.Lines(o.log.String()) {
			if strings.Contains(l, `"http.log.access`) && strings.Contains(l, `"uri":"`+path+`"`) {
				line = l
			}
		}
		return line != ""
	})
	return line
}
