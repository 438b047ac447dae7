package clients

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter puts an image that Docker saved into a store, and another Docker pulls
// it from Caddy and runs it, without any IPFS node.
func TestDockerPullsFromStore(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := harness.Convert(t, img.Archive, "--store="+store, "--registry="+caddy.URL)
	harness.RootOf(t, ref)
	img.MustBe(t, harness.PullByDocker(t, ref))

	if got := harness.Get(t, caddy.URL+"/").Text; got != "a page" {
		t.Errorf("outside /v2, the site answers %q, want its page", got)
	}
}

// Every client pulls an image that is on a real IPFS node, both through Caddy and by
// redirects to the node.
func TestEveryClientPullsFromKubo(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	for _, mode := range []struct {
		name, blobs string
		status      int // of the answer to a request for a blob
	}{
		{"proxied", "proxy", http.StatusOK},
		{"redirected", "redirect " + kubo.Gateway, http.StatusTemporaryRedirect},
	} {
		t.Run(mode.name, func(t *testing.T) {
			caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\ngateway %s\nblobs %s\n}", kubo.Gateway, mode.blobs))
			ref := harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API, "--registry="+caddy.URL)
			harness.RootOf(t, ref)
			blobsMustBe(t, ref, mode.status, kubo.Gateway)
			for _, client := range harness.Clients {
				t.Run(client.Name, func(t *testing.T) {
					harness.Parallel(t)
					img.MustBe(t, client.Pull(t, ref))
				})
			}
		})
	}
}

// blobsMustBe fails the test if a layer is answered with another status, or redirected
// to another gateway.
func blobsMustBe(t *testing.T, ref string, status int, gateway string) {
	t.Helper()
	m, _ := harness.FetchManifest(t, ref)
	for _, layer := range m.Layers {
		resp := harness.Get(t, harness.Repository(ref)+"/blobs/"+layer.Digest)
		if resp.StatusCode != status {
			t.Errorf("a layer is answered with %d, want %d", resp.StatusCode, status)
		}
		if to := resp.Header.Get("Location"); to != "" && !strings.HasPrefix(to, gateway+"/") {
			t.Errorf("a layer is redirected to %s, want %s", to, gateway)
		}
	}
}

// The command `caddy ipfs-registry` serves a store and gateways without a configuration
// file.
func TestCommandServesWithoutConfiguration(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	store := t.TempDir()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", harness.FreePort(t))
	for _, from := range []struct {
		name, convert string
		flags         []string
	}{
		{"store", "--store=" + store, []string{"--store", store}},
		{"gateways", "--ipfs-api=" + kubo.API, []string{"--store", t.TempDir(), "--gateway", nobody, "--gateway", kubo.Gateway}},
	} {
		t.Run(from.name, func(t *testing.T) {
			harness.Need(t, "bin/caddy")
			port := harness.FreePort(t)
			args := append([]string{"ipfs-registry", "--listen", fmt.Sprintf(":%d", port)}, from.flags...)
			cmd := exec.Command(harness.InRepo("bin/caddy"), args...)
			cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
			registry := fmt.Sprintf("http://localhost:%d", port)
			d := harness.StartDaemon(t, "caddy ipfs-registry", cmd)
			d.Await(t, "an answer at "+registry, func() bool { return harness.IsServed(registry + "/v2/") })
			ref := harness.Convert(t, img.Archive, from.convert, "--registry="+registry)
			img.MustBe(t, harness.PullByCrane(t, ref))
		})
	}
}

// With an unchanged Caddyfile.example and without flags, the reference that the converter
// prints can be pulled.
func TestCaddyfileExampleServesDefaultStore(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "bin/converter")
	img := harness.DockerImage(t)
	machine := harness.NewMachine(t)
	home := t.TempDir()
	harness.StartCaddy(t, "caddy", harness.ReadFile(t, harness.InRepo("Caddyfile.example")), func(name string, args ...string) *exec.Cmd {
		cmd := machine.Command(name, args...)
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
		return cmd
	})
	ref := harness.RunForLine(t, harness.WithInput(t, machine.Command(harness.InRepo("bin/converter")), img.Archive))
	dir := t.TempDir()
	harness.Run(t, machine.Command("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir))
	img.MustBe(t, harness.ConfigDigest(t, harness.ReadFile(t, filepath.Join(dir, "manifest.json"))))
}
