package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The admin endpoint shows what there is, and changes it at once.
func TestAdmin(t *testing.T) {
	t.Parallel()
	kubo := newKubo(t)
	liar := newFalsifier(t, kubo.gateway)
	store, deny := t.TempDir(), filepath.Join(t.TempDir(), "list.deny")
	writeFile(t, deny, "# nothing yet\n")
	o := newOperated(t, fmt.Sprintf("ipfs_registry %s {\ngateway %s\nstore %s\ndeny %s\n}", liar, kubo.gateway, store, deny))
	convertTo := func(name string, args ...string) (ref string) {
		return convert(t, archiveOfLayers(t, name+":v1", name+noise(300_000)), append(args, "--registry="+o.registry)...)
	}
	near, other := convertTo("near", "--store="+store), convertTo("other", "--store="+store)
	far := convertTo("far", "--ipfs-api="+kubo.api)

	var images []struct {
		Store, Root string
		Images      []struct{ Name, Tag string }
	}
	o.answer(t, http.MethodGet, "/ipfs_registry/images", &images)
	roots := map[string]string{}
	for _, image := range images {
		if image.Store == store && len(image.Images) == 1 && image.Images[0].Tag == "v1" {
			roots[image.Images[0].Name] = image.Root
		}
	}
	if len(images) != 2 || !maps.Equal(roots, map[string]string{"near": address(near), "other": address(other)}) {
		t.Errorf("images: %+v", images)
	}

	m, _ := fetchManifest(t, far)
	for _, blob := range []descriptor{m.Config, m.Layers[0]} {
		get(t, repository(far)+"/blobs/"+blob.Digest)
	}
	var gateways []struct {
		Gateway string
		Group   int
		Healthy bool
		PutBack string `json:"put_back_until"`
	}
	o.answer(t, http.MethodGet, "/ipfs_registry/gateways", &gateways)
	if len(gateways) != 2 || gateways[0].Gateway != liar || gateways[0].Healthy || gateways[0].PutBack == "" ||
		gateways[1].Gateway != kubo.gateway || gateways[1].Group != 1 || !gateways[1].Healthy || gateways[1].PutBack != "" {
		t.Errorf("gateways: %+v", gateways)
	}

	var gone struct {
		Files, Memory int
		Bytes         int64
	}
	fetchManifest(t, near)
	o.answer(t, http.MethodDelete, "/ipfs_registry/images/"+address(near), &gone)
	if resp := get(t, repository(near)+"/manifests/latest"); resp.StatusCode == http.StatusOK || gone.Files == 0 || gone.Bytes == 0 {
		t.Errorf("an image that went with %+v is answered with %d", gone, resp.StatusCode)
	}
	fetchManifest(t, other)
	inStore(t, store, "verify", "--all")
	o.answer(t, http.MethodDelete, "/ipfs_registry/images/"+cidV1(t, address(far)), &gone)
	if gone.Files == 0 || gone.Bytes < 300_000 || gone.Memory != 1 {
		t.Errorf("what was remembered of a gateway's image went with %+v", gone)
	}
	for path := range tree(t, filepath.Join(store, "cache")) {
		if !strings.HasSuffix(path, "/") && (strings.HasPrefix(path, "blobs/") || strings.HasPrefix(path, "nodes/")) {
			t.Errorf("%s is in the cache, where nothing was but what was purged", path)
		}
	}

	var lists []struct {
		List, File string
		Rules      int
	}
	writeFile(t, deny, "/ipfs/"+cidV1(t, address(far))+"\n")
	o.answer(t, http.MethodPost, "/ipfs_registry/lists/reload", &lists)
	if resp := get(t, repository(far)+"/manifests/latest"); resp.StatusCode != http.StatusGone || len(lists) != 1 || lists[0].List != "deny" || lists[0].File != deny || lists[0].Rules != 1 {
		t.Errorf("with the lists %+v, what is denied is answered with %d", lists, resp.StatusCode)
	}
	writeFile(t, deny, "nginx\n")
	o.mustRefuse(t, http.MethodPost, "/ipfs_registry/lists/reload", http.StatusInternalServerError, deny+`: line 1: "nginx": not a rule`)
	if resp := get(t, repository(far)+"/manifests/latest"); resp.StatusCode != http.StatusGone {
		t.Errorf("when a list is broken, what it denied is answered with %d", resp.StatusCode)
	}

	for _, path := range []string{"images", "gateways"} {
		o.mustRefuse(t, http.MethodPost, "/ipfs_registry/"+path, http.StatusMethodNotAllowed, "method not allowed")
	}
	o.mustRefuse(t, http.MethodGet, "/ipfs_registry/lists/reload", http.StatusMethodNotAllowed, "method not allowed")
	o.mustRefuse(t, http.MethodGet, "/ipfs_registry/images/"+address(other), http.StatusMethodNotAllowed, "method not allowed")
	o.mustRefuse(t, http.MethodDelete, "/ipfs_registry/images/nginx", http.StatusBadRequest, `"nginx": not a CID`)
	o.mustRefuse(t, http.MethodDelete, "/ipfs_registry/images/"+address(near), http.StatusNotFound, "no image "+cidV1(t, address(near)))

	page := readFile(t, inRepo("docs/operations.md"))
	for _, route := range []string{"GET /ipfs_registry/images`", "DELETE /ipfs_registry/images/<cid>`", "GET /ipfs_registry/gateways`", "POST /ipfs_registry/lists/reload`"} {
		if !strings.Contains(page, "`"+route) {
			t.Errorf("docs/operations.md does not have %s", route)
		}
	}
}

// address is the CID in a reference.
func address(ref string) string { return strings.Split(ref, "/")[1] }

// answer asks the admin endpoint for what it has to have.
func (o *operated) answer(t *testing.T, method, path string, value any) {
	t.Helper()
	resp := o.ask(t, method, path)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, resp.body)
	}
	if err := json.Unmarshal([]byte(resp.body), value); err != nil {
		t.Fatalf("%s %s: %s", method, path, resp.body)
	}
}

// mustRefuse asks the admin endpoint for what is an error, in its way.
func (o *operated) mustRefuse(t *testing.T, method, path string, status int, message string) {
	t.Helper()
	resp := o.ask(t, method, path)
	var failed struct{ Error string }
	err := json.Unmarshal([]byte(resp.body), &failed)
	if err != nil || resp.StatusCode != status || !strings.Contains(failed.Error, message) {
		t.Errorf("%s %s: %s %s", method, path, resp.Status, resp.body)
	}
	if allowed := resp.Header["Allow"]; (status == http.StatusMethodNotAllowed) != (len(allowed) == 1 && !slices.Contains(allowed, method)) {
		t.Errorf("%s %s: Allow: %q", method, path, allowed)
	}
}
