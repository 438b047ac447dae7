// Package push tests the registry with the programs that people push with: Docker, BuildKit,
// podman, containerd, skopeo, crane, oras, regctl, helm and cosign, and the tests of the
// distribution specification.
package push

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// newRegistry starts a Caddy that everybody may push to. The directory is its store.
func newRegistry(t *testing.T, store string) *harness.Caddy {
	t.Helper()
	return harness.NewCaddy(t, fmt.Sprintf("log\nipfs_registry {\nstore %s\npush {\nanonymous\n}\ncatalog\n}", store))
}

// mustBe fails the test unless a manifest is answered with the status.
func mustBe(t *testing.T, caddy *harness.Caddy, status int, repository, reference string) harness.Response {
	t.Helper()
	url := caddy.URL + "/v2/" + repository + "/manifests/" + reference
	resp := harness.MustSend(t, harness.NoRedirects, http.MethodGet, url)
	if resp.StatusCode != status {
		t.Fatalf("GET %s: %d, want %d", url, resp.StatusCode, status)
	}
	return resp
}
