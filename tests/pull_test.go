package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What Docker built and saved, the converter puts into a store on disk, and a
// Docker that never saw it pulls it from Caddy and runs it. There is no IPFS
// node.
func TestPullFromStore(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	store := t.TempDir()
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := convert(t, img.archive, "--store="+store, "--registry="+caddy.registry)
	root(t, ref)
	img.mustBe(t, pullByDocker(t, ref))

	if got := get(t, caddy.registry+"/").body; got != "a page" {
		t.Errorf("beside the registry, the site answers %q, not its page", got)
	}
}

// Every client pulls from a real IPFS node, through Caddy and sent by Caddy to
// the node itself.
func TestPullFromKubo(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	for _, mode := range []struct {
		name, blobs string
		status      int // of a blob
	}{
		{"proxied", "proxy", http.StatusOK},
		{"redirected", "redirect " + kubo.gateway, http.StatusTemporaryRedirect},
	} {
		t.Run(mode.name, func(t *testing.T) {
			caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\ngateway %s\nblobs %s\n}", kubo.gateway, mode.blobs))
			ref := convert(t, img.archive, "--ipfs-api="+kubo.api, "--registry="+caddy.registry)
			root(t, ref)
			blobsMustBe(t, ref, mode.status, kubo.gateway)
			for _, client := range clients {
				t.Run(client.name, func(t *testing.T) {
					t.Parallel()
					img.mustBe(t, client.pull(t, ref))
				})
			}
		})
	}
}

// blobsMustBe fails the test when layers are not answered with the status, or
// redirected to another gateway.
func blobsMustBe(t *testing.T, ref string, status int, gateway string) {
	t.Helper()
	m, _ := fetchManifest(t, ref)
	for _, layer := range m.Layers {
		resp := get(t, repository(ref)+"/blobs/"+layer.Digest)
		if resp.StatusCode != status {
			t.Errorf("a layer was answered with %d, not %d", resp.StatusCode, status)
		}
		if to := resp.Header.Get("Location"); to != "" && !strings.HasPrefix(to, gateway+"/") {
			t.Errorf("a layer was redirected to %s, not to %s", to, gateway)
		}
	}
}

// The command starts the same with no configuration at all.
func TestCommand(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	store := t.TempDir()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	for _, from := range []struct {
		name, convert string
		flags         []string
	}{
		{"store", "--store=" + store, []string{"--store", store}},
		{"gateways", "--ipfs-api=" + kubo.api, []string{"--store", t.TempDir(), "--gateway", nobody, "--gateway", kubo.gateway}},
	} {
		t.Run(from.name, func(t *testing.T) {
			needs(t, "bin/caddy")
			port := freePort(t)
			args := append([]string{"ipfs-registry", "--listen", fmt.Sprintf(":%d", port)}, from.flags...)
			cmd := exec.Command(inRepo("bin/caddy"), args...)
			cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
			registry := fmt.Sprintf("http://localhost:%d", port)
			d := startDaemon(t, "caddy ipfs-registry", cmd)
			d.await(t, registry, func() bool { return answers(registry + "/v2/") })
			ref := convert(t, img.archive, from.convert, "--registry="+registry)
			img.mustBe(t, pullByCrane(t, ref))
		})
	}
}

// With Caddyfile.example as it is and no flag at all, what the converter prints
// is there to pull.
func TestDefaults(t *testing.T) {
	t.Parallel()
	needs(t, "skopeo", "bin/converter")
	img := testImage(t)
	machine := newMachine(t)
	home := t.TempDir()
	startCaddy(t, "caddy", readFile(t, inRepo("Caddyfile.example")), func(name string, args ...string) *exec.Cmd {
		cmd := machine.command(name, args...)
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
		return cmd
	})
	ref := runForLine(t, withInput(t, machine.command(inRepo("bin/converter")), img.archive))
	dir := t.TempDir()
	run(t, machine.command("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir))
	img.mustBe(t, config(t, readFile(t, filepath.Join(dir, "manifest.json"))))
}
