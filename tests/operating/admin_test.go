package operating

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The admin endpoint lists images and gateways, purges images and reloads lists. Purges
// and reloads take effect at once.
func TestAdminShowsPurgesAndReloads(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	liar := newFalsifier(t, kubo.Gateway)
	store, deny := t.TempDir(), filepath.Join(t.TempDir(), "list.deny")
	harness.WriteFile(t, deny, "# nothing yet\n")
	o := harness.NewOperated(t, fmt.Sprintf("ipfs_registry %s {\ngateway %s\nstore %s\ndeny %s\n}", liar, kubo.Gateway, store, deny))
	convertTo := func(name string, args ...string) (ref string) {
		return harness.Convert(t, harness.ArchiveOfLayers(t, name+":v1", name+harness.Noise(300_000)), append(args, "--registry="+o.URL)...)
	}
	near, other := convertTo("near", "--store="+store), convertTo("other", "--store="+store)
	far := convertTo("far", "--ipfs-api="+kubo.API)

	var images []struct {
		Store, Root string
		Images      []struct{ Name, Tag string }
	}
	o.Answer(t, http.MethodGet, "/ipfs_registry/images", &images)
	roots := map[string]string{}
	for _, image := range images {
		if image.Store == store && len(image.Images) == 1 && image.Images[0].Tag == "v1" {
			roots[image.Images[0].Name] = image.Root
		}
	}
	if len(images) != 2 || !maps.Equal(roots, map[string]string{"near": harness.Address(near), "other": harness.Address(other)}) {
		t.Errorf("the images are %+v", images)
	}

	m, _ := harness.FetchManifest(t, far)
	for _, blob := range []harness.Descriptor{m.Config, m.Layers[0]} {
		harness.Get(t, harness.Repository(far)+"/blobs/"+blob.Digest)
	}
	var gateways []struct {
		Gateway string
		Group   int
		Healthy bool
		PutBack string `json:"put_back_until"`
	}
	o.Answer(t, http.MethodGet, "/ipfs_registry/gateways", &gateways)
	if len(gateways) != 2 || gateways[0].Gateway != liar || gateways[0].Healthy || gateways[0].PutBack == "" ||
		gateways[1].Gateway != kubo.Gateway || gateways[1].Group != 1 || !gateways[1].Healthy || gateways[1].PutBack != "" {
		t.Errorf("the gateways are %+v", gateways)
	}

	var gone struct {
		Files, Memory int
		Bytes         int64
	}
	harness.FetchManifest(t, near)
	o.Answer(t, http.MethodDelete, "/ipfs_registry/images/"+harness.Address(near), &gone)
	if resp := harness.Get(t, harness.Repository(near)+"/manifests/latest"); resp.StatusCode == http.StatusOK || gone.Files == 0 || gone.Bytes == 0 {
		t.Errorf("a purged image (%+v) is answered with %d", gone, resp.StatusCode)
	}
	harness.FetchManifest(t, other)
	harness.InStore(t, store, "verify", "--all")
	o.Answer(t, http.MethodDelete, "/ipfs_registry/images/"+harness.CIDv1(t, harness.Address(far)), &gone)
	if gone.Files == 0 || gone.Bytes < 300_000 || gone.Memory != 1 {
		t.Errorf("purging a cached image removed %+v", gone)
	}
	for path := range harness.ReadTree(t, filepath.Join(store, "cache")) {
		if !strings.HasSuffix(path, "/") && (strings.HasPrefix(path, "blobs/") || strings.HasPrefix(path, "nodes/")) {
			t.Errorf("%s is still in the cache, which had only the purged image", path)
		}
	}

	var lists []struct {
		List, File string
		Rules      int
	}
	harness.WriteFile(t, deny, "/ipfs/"+harness.CIDv1(t, harness.Address(far))+"\n")
	o.Answer(t, http.MethodPost, "/ipfs_registry/lists/reload", &lists)
	if resp := harness.Get(t, harness.Repository(far)+"/manifests/latest"); resp.StatusCode != http.StatusGone || len(lists) != 1 || lists[0].List != "deny" || lists[0].File != deny || lists[0].Rules != 1 {
		t.Errorf("with the lists %+v, a denied image is answered with %d", lists, resp.StatusCode)
	}
	harness.WriteFile(t, deny, "nginx\n")
	o.MustRefuse(t, http.MethodPost, "/ipfs_registry/lists/reload", http.StatusInternalServerError, deny+`: line 1: "nginx": not a rule`)
	if resp := harness.Get(t, harness.Repository(far)+"/manifests/latest"); resp.StatusCode != http.StatusGone {
		t.Errorf("after a broken list was loaded, an image that was denied before is answered with %d", resp.StatusCode)
	}

	for _, path := range []string{"images", "gateways"} {
		o.MustRefuse(t, http.MethodPost, "/ipfs_registry/"+path, http.StatusMethodNotAllowed, "method not allowed")
	}
	o.MustRefuse(t, http.MethodGet, "/ipfs_registry/lists/reload", http.StatusMethodNotAllowed, "method not allowed")
	o.MustRefuse(t, http.MethodGet, "/ipfs_registry/images/"+harness.Address(other), http.StatusMethodNotAllowed, "method not allowed")
	o.MustRefuse(t, http.MethodDelete, "/ipfs_registry/images/nginx", http.StatusBadRequest, `"nginx": not a CID`)
	o.MustRefuse(t, http.MethodDelete, "/ipfs_registry/images/"+harness.Address(near), http.StatusNotFound, "no image "+harness.CIDv1(t, harness.Address(near)))

	page := harness.ReadFile(t, harness.InRepo("docs/operations.md"))
	for _, route := range []string{"GET /ipfs_registry/images`", "DELETE /ipfs_registry/images/<cid>`", "GET /ipfs_registry/gateways`", "POST /ipfs_registry/lists/reload`"} {
		if !strings.Contains(page, "`"+route) {
			t.Errorf("docs/operations.md lacks %s", route)
		}
	}
}
