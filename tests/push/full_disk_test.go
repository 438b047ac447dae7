package push

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A push that finds the disk full gets one clear answer in the protocol's form, and gives the
// room back: what fits can be pushed then.
func TestFullDisk(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "root", "unshare", "bin/caddy")
	store, port := t.TempDir(), harness.FreePort(t)
	url := fmt.Sprintf("http://localhost:%d", port)
	caddyfile := fmt.Sprintf("{\nadmin off\npersist_config off\n}\n%s {\nipfs_registry {\nstore %s\npush {\nanonymous\n}\n}\n}\n", url, store)
	harness.StartCaddy(t, "caddy", caddyfile, func(name string, args ...string) *exec.Cmd {
		const script = `mount -t tmpfs -o size=8m tmpfs "$1"; shift; exec "$@"`
		return exec.Command("unshare", append([]string{"--mount", "sh", "-ec", script, "sh", store, name}, args...)...)
	})
	blob := func(content string) string {
		return url + "/v2/app/blobs/uploads/?digest=" + harness.DigestOf([]byte(content))
	}
	large, small := harness.Noise(20<<20), harness.Noise(5<<20)
	for range 2 {
		resp := send(t, 507, "POST", blob(large), large)
		if got := resp.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type: %s", got)
		}
	}
	location := url + send(t, 202, "POST", url+"/v2/app/blobs/uploads/", "").Header.Get("Location")
	send(t, 507, "PATCH", location, large)
	send(t, 204, "DELETE", location, "")
	send(t, 201, "POST", blob(small), small)
	if got := harness.Get(t, url+"/v2/app/blobs/"+harness.DigestOf([]byte(small))); got.Text != small {
		t.Errorf("%d, %d bytes", got.StatusCode, len(got.Text))
	}
}
