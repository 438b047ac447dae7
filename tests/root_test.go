package tests

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mirror is a Caddy whose root has the test's image as team/app:v1, and as
// hello:v1.
type mirror struct {
	*caddy
	img     image
	address string
}

// newMirror starts one that is for the registries that are named.
func newMirror(t *testing.T, hosts ...string) mirror {
	t.Helper()
	img := testImage(t)
	store := t.TempDir()
	address := root(t, convert(t, img.archive, "--store="+store))
	line := convert(t, img.archive, "--store="+store, "--onto="+address, "--name=hello", "--tag=v1")
	address = strings.Split(line, "/")[1]
	named := ""
	if len(hosts) > 0 {
		named = " {\nfor " + strings.Join(hosts, " ") + "\n}"
	}
	return mirror{newCaddy(t, fmt.Sprintf("log\nipfs_registry {\nstore %s\ncatalog\nroot %s%s\n}", store, address, named)), img, address}
}

// Images below the root have plain names for every client, as in any registry.
func TestRoot(t *testing.T) {
	t.Parallel()
	needs(t, "bin/crane")
	m := newMirror(t)
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			m.img.mustBe(t, client.pull(t, m.host()+"/"+imageName+":v1"))
		})
	}
	host := strings.Replace(m.host(), "localhost", "127.0.0.1", 1)
	catalog := strings.Fields(run(t, exec.Command(inRepo("bin/crane"), "catalog", "--insecure", host)))
	want := map[string]bool{"hello": true, imageName: true, m.address + "/hello": true, m.address + "/" + imageName: true}
	for _, name := range catalog {
		if !want[name] {
			continue
		}
		delete(want, name)
		if got := run(t, exec.Command(inRepo("bin/crane"), "ls", "--insecure", host+"/"+name)); got != "v1\n" {
			t.Errorf("crane lists %q for the tags of %s", got, name)
		}
	}
	if len(want) > 0 {
		t.Errorf("crane lists the images %v, without %v", catalog, want)
	}
}

// containerd asks a mirror for the images of registries that it is configured
// for, and says of which. What is not the image that is asked for is not there,
// whatever it is called.
func TestMirrorOfContainerd(t *testing.T) {
	t.Parallel()
	m := newMirror(t, "docker.io", "registry.example.com:5000")
	ctr := startContainerd(t)
	hosts := t.TempDir()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	for _, registry := range []string{"docker.io", "registry.example.com_5000_", "registry.example.com"} {
		writeFile(t, filepath.Join(hosts, registry, "hosts.toml"),
			fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = ['pull', 'resolve']\n", nobody, m.registry))
	}
	pull := func(ref string) *exec.Cmd {
		return ctr("images", "pull", "--hosts-dir="+hosts, "--snapshotter=native", ref)
	}
	for _, ref := range []string{"docker.io/library/hello:v1", "docker.io/" + imageName + ":v1", "registry.example.com:5000/hello:v1"} {
		run(t, pull(ref))
		m.img.mustBe(t, configByCtr(t, func(args ...string) string { return run(t, ctr(args...)) }, ref))
	}
	for ref, asked := range map[string]string{
		"docker.io/library/hello:latest":             "/v2/library/hello/manifests/latest?ns=docker.io",               // how it is found by its address
		"registry.example.com/hello:v1":              "/v2/hello/manifests/v1?ns=registry.example.com",                // another registry's
		"registry.example.com:5000/library/hello:v1": "/v2/library/hello/manifests/v1?ns=registry.example.com%3A5000", // another image's
	} {
		if _, stderr, err := try(pull(ref)); err == nil {
			t.Errorf("ctr pulls %s", ref)
		} else if log := m.log.String(); !strings.Contains(log, asked) {
			t.Errorf("ctr fails with %s, and did not ask for %s", stderr, asked)
		}
	}
}

// Docker asks its mirrors for images of its own registry, and does not say so.
func TestMirrorOfDocker(t *testing.T) {
	t.Parallel()
	m := newMirror(t, "docker.io")
	d := newDocker(t, "--registry-mirror="+m.registry)
	for _, ref := range []string{"hello:v1", imageName + ":v1"} {
		d.docker(t, "pull", ref)
		d.mustRun(t, ref)
		m.img.mustBe(t, d.id(t, ref))
	}
	// It would go on to ask its own registry, so a test must not let it.
	latest := get(t, m.registry+"/v2/library/hello/manifests/latest")
	if latest.StatusCode != http.StatusNotFound || !strings.Contains(latest.body, "but v1") {
		t.Errorf("the latest, of which only v1 is there, is answered with %d: %s", latest.StatusCode, latest.body)
	}
}

// A root may be a name: tags are then what it stands for at the time.
func TestRootIsName(t *testing.T) {
	t.Parallel()
	needs(t, "bin/crane")
	img := testImage(t)
	kubo := newKubo(t)
	key := kubo.newKey(t, "images", "ed25519")
	first := root(t, convert(t, img.archive, "--ipfs-api="+kubo.api))
	kubo.publish(t, "images", "/ipfs/"+cidV1(t, first))
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry %s {\nroot %s\n}", kubo.gateway, key))
	img.mustBe(t, pullByCrane(t, caddy.host()+"/"+imageName+":v1"))
	if status := get(t, caddy.registry+"/v2/hello/manifests/v1").StatusCode; status != http.StatusNotFound {
		t.Errorf("what the name has not yet is answered with %d", status)
	}

	line := convert(t, img.archive, "--ipfs-api="+kubo.api, "--onto="+first, "--name=hello", "--tag=v1")
	kubo.publish(t, "images", "/ipfs/"+cidV1(t, strings.Split(line, "/")[1]))
	caddy.await(t, "the name to stand for more", func() bool { return answers(caddy.registry + "/v2/hello/manifests/v1") })
	img.mustBe(t, pullByCrane(t, caddy.host()+"/hello:v1"))
}
