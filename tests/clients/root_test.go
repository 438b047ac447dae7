package clients

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A mirror is a Caddy whose root has the image as team/app:v1 and as hello:v1.
type mirror struct {
	*harness.Caddy
	img     harness.Image
	address string
}

// newMirror starts a mirror for the images of the given registries.
func newMirror(t *testing.T, hosts ...string) mirror {
	t.Helper()
	img := harness.DockerImage(t)
	store := t.TempDir()
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+store))
	line := harness.Convert(t, img.Archive, "--store="+store, "--onto="+address, "--name=hello", "--tag=v1")
	address = strings.Split(line, "/")[1]
	named := ""
	if len(hosts) > 0 {
		named = " {\nfor " + strings.Join(hosts, " ") + "\n}"
	}
	return mirror{harness.NewCaddy(t, fmt.Sprintf("log\nipfs_registry {\nstore %s\ncatalog\nroot %s%s\n}", store, address, named)), img, address}
}

// Every client pulls the images below the root by their plain names, as from any
// registry.
func TestEveryClientPullsBelowRoot(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/crane")
	m := newMirror(t)
	for _, client := range harness.Clients {
		t.Run(client.Name, func(t *testing.T) {
			harness.Parallel(t)
			m.img.MustBe(t, client.Pull(t, m.Host()+"/"+harness.ImageName+":v1"))
		})
	}
	host := strings.Replace(m.Host(), "localhost", "127.0.0.1", 1)
	catalog := strings.Fields(harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "catalog", "--insecure", host)))
	want := map[string]bool{"hello": true, harness.ImageName: true, m.address + "/hello": true, m.address + "/" + harness.ImageName: true}
	for _, name := range catalog {
		if !want[name] {
			continue
		}
		delete(want, name)
		if got := harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "ls", "--insecure", host+"/"+name)); got != "v1\n" {
			t.Errorf("crane lists the tags %q of %s, want v1", got, name)
		}
	}
	if len(want) > 0 {
		t.Errorf("crane lists the images %v, which lack %v", catalog, want)
	}
}

// Every client pulls an image from a store's own root, once the converter has put it there,
// though Caddy runs already.
func TestEveryClientPullsFromOwnRoot(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\nroot\n}", store))
	harness.Convert(t, img.Archive, "--store="+store, "--onto=root")
	for _, client := range harness.Clients {
		t.Run(client.Name, func(t *testing.T) {
			harness.Parallel(t)
			img.MustBe(t, client.Pull(t, caddy.Host()+"/"+harness.ImageName+":v1"))
		})
	}
}

// containerd pulls the images of the registries that a mirror is for. The mirror has no
// image of another registry, whatever its name is, since containerd says of which
// registry the image is.
func TestContainerdPullsThroughMirror(t *testing.T) {
	harness.Parallel(t)
	m := newMirror(t, "docker.io", "registry.example.com:5000")
	ctr := harness.StartContainerd(t)
	hosts := t.TempDir()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", harness.FreePort(t))
	for _, registry := range []string{"docker.io", "registry.example.com_5000_", "registry.example.com"} {
		harness.WriteFile(t, filepath.Join(hosts, registry, "hosts.toml"),
			fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = ['pull', 'resolve']\n", nobody, m.URL))
	}
	pull := func(ref string) *exec.Cmd {
		return ctr("images", "pull", "--hosts-dir="+hosts, "--snapshotter=native", ref)
	}
	for _, ref := range []string{"docker.io/library/hello:v1", "docker.io/" + harness.ImageName + ":v1", "registry.example.com:5000/hello:v1"} {
		harness.Run(t, pull(ref))
		m.img.MustBe(t, harness.ConfigByCtr(t, func(args ...string) string { return harness.Run(t, ctr(args...)) }, ref))
	}
	for ref, asked := range map[string]string{
		"docker.io/library/hello:latest":             "/v2/library/hello/manifests/latest?ns=docker.io",               // a missing tag
		"registry.example.com/hello:v1":              "/v2/hello/manifests/v1?ns=registry.example.com",                // another registry's
		"registry.example.com:5000/library/hello:v1": "/v2/library/hello/manifests/v1?ns=registry.example.com%3A5000", // another image's
	} {
		if _, stderr, err := harness.Try(pull(ref)); err == nil {
			t.Errorf("ctr pulls %s, which the mirror does not have", ref)
		} else if log := m.Log.String(); !strings.Contains(log, asked) {
			t.Errorf("ctr did not ask the mirror for %s, and fails with %s", asked, stderr)
		}
	}
}

// Docker pulls images of Docker Hub through a mirror. It asks without ?ns=.
func TestDockerPullsThroughMirror(t *testing.T) {
	harness.Parallel(t)
	m := newMirror(t, "docker.io")
	d := harness.NewDocker(t, "--registry-mirror="+m.URL)
	for _, ref := range []string{"hello:v1", harness.ImageName + ":v1"} {
		d.Run(t, "pull", ref)
		d.MustRun(t, ref)
		m.img.MustBe(t, d.ID(t, ref))
	}
	// Docker would ask Docker Hub for an image that the mirror lacks, so the test asks the
	// mirror itself.
	latest := harness.Get(t, m.URL+"/v2/library/hello/manifests/latest")
	if latest.StatusCode != http.StatusNotFound || !strings.Contains(latest.Text, "its tags are v1") {
		t.Errorf("latest, where only v1 exists, is answered with %d: %s", latest.StatusCode, latest.Text)
	}
}

// If root is a name, the images below it change when the name is published again.
func TestRootThatIsANameMoves(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/crane")
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	key := kubo.NewKey(t, "images", "ed25519")
	first := harness.RootOf(t, harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API))
	kubo.Publish(t, "images", "/ipfs/"+harness.CIDv1(t, first))
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry %s {\nroot %s\n}", kubo.Gateway, key))
	img.MustBe(t, harness.PullByCrane(t, caddy.Host()+"/"+harness.ImageName+":v1"))
	if status := harness.Get(t, caddy.URL+"/v2/hello/manifests/v1").StatusCode; status != http.StatusNotFound {
		t.Errorf("an image that the root does not have yet is answered with %d", status)
	}

	line := harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API, "--onto="+first, "--name=hello", "--tag=v1")
	kubo.Publish(t, "images", "/ipfs/"+harness.CIDv1(t, strings.Split(line, "/")[1]))
	caddy.Await(t, "the second image", func() bool { return harness.IsServed(caddy.URL + "/v2/hello/manifests/v1") })
	img.MustBe(t, harness.PullByCrane(t, caddy.Host()+"/hello:v1"))
}
