package push

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A push that fills the disk gets one clear answer in the protocol's form, and frees its space,
// so that a smaller push succeeds afterwards.
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

// A registry that may not write to its store refuses pushes with one clear error, and still
// serves the content of the store.
func TestReadOnlyStore(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "root", "unshare", "setpriv", "bin/caddy")
	const index = `{"schemaVersion":2,"mediaType":"` + harness.OCIIndex + `","manifests":[]}`
	for name, script := range map[string]string{
		"mounted read-only":    `mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"`,
		"of another user":      `shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`,
		"part of another user": `chown 65534 "$1"; shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`,
		"without permission":   `chown -R 65534 "$1"; chmod -R a-w "$1"; shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			harness.Parallel(t)
			store, storage := t.TempDir(), t.TempDir()
			writable := newRegistry(t, store)
			send(t, 201, "PUT", writable.URL+"/v2/app/manifests/v1", index, "Content-Type", harness.OCIIndex)
			writable.StopGently()
			harness.Run(t, exec.Command("chmod", "755", filepath.Dir(store)))
			harness.Run(t, exec.Command("chmod", "777", storage))

			url := fmt.Sprintf("http://localhost:%d", harness.FreePort(t))
			caddyfile := fmt.Sprintf("{\nadmin off\npersist_config off\nstorage file_system %s\n}\n%s {\nipfs_registry {\nstore %s\npush {\nanonymous\n}\n}\n}\n", storage, url, store)
			harness.StartCaddy(t, "caddy", caddyfile, func(name string, args ...string) *exec.Cmd {
				return exec.Command("unshare", append([]string{"--mount", "sh", "-ec", script, "sh", store, name}, args...)...)
			})
			for _, write := range []struct{ method, path string }{
				{"POST", "/v2/app/blobs/uploads/"},
				{"POST", "/v2/app/blobs/uploads/?digest=" + harness.DigestOf([]byte("x"))},
				{"PUT", "/v2/app/manifests/v2"},
				{"DELETE", "/v2/app/manifests/v1"},
			} {
				content := "x"
				if write.method == "PUT" {
					content = index
				}
				resp := send(t, 503, write.method, url+write.path, content)
				if !strings.Contains(resp.Text, `"UNAVAILABLE"`) || !strings.Contains(resp.Text, "the registry may not write to its store") {
					t.Errorf("%s %s: %s", write.method, write.path, resp.Text)
				}
			}
			if got := harness.Get(t, url+"/v2/app/manifests/v1"); got.Text != index {
				t.Errorf("%d, %s", got.StatusCode, got.Text)
			}
		})
	}
}
