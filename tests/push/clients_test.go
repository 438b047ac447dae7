package push

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A pusher puts the image in a file of docker save into a registry.
type pusher struct {
	name string
	push func(t *testing.T, archive, ref string)
}

var pushers = []pusher{
	{"docker", func(t *testing.T, archive, ref string) { pushByDocker(t, harness.NewDocker(t), archive, ref) }},
	{"docker-trixie-classic", func(t *testing.T, archive, ref string) {
		pushByDocker(t, harness.NewTrixieDocker(t, "classic"), archive, ref)
	}},
	{"docker-trixie-containerd", func(t *testing.T, archive, ref string) {
		pushByDocker(t, harness.NewTrixieDocker(t, "containerd"), archive, ref)
	}},
	{"podman", func(t *testing.T, archive, ref string) {
		podman := harness.NewPodman(t)
		_, loaded, _ := strings.Cut(podman("load", "--quiet", "--input="+archive), ": ")
		podman("push", "--quiet", "--tls-verify=false", loaded, ref)
	}},
	{"skopeo", func(t *testing.T, archive, ref string) {
		harness.Need(t, "skopeo")
		harness.Run(t, exec.Command("skopeo", "copy", "--dest-tls-verify=false", "docker-archive:"+archive, "docker://"+ref))
	}},
	{"ctr", func(t *testing.T, archive, ref string) {
		ctr := harness.NewContainerd(t)
		ctr("images", "import", "--no-unpack", archive)
		ctr("images", "tag", "docker.io/"+harness.ImageName+":v1", ref)
		ctr("images", "push", "--plain-http", ref)
	}},
	{"crane", func(t *testing.T, archive, ref string) {
		harness.Need(t, "bin/crane")
		harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "push", "--insecure", archive, ref))
	}},
	{"oras", func(t *testing.T, archive, ref string) {
		harness.Need(t, "bin/oras")
		harness.Run(t, exec.Command(harness.InRepo("bin/oras"), "copy", "--from-oci-layout", "--to-plain-http", ociLayout(t, archive)+":v1", ref))
	}},
	{"regctl", func(t *testing.T, archive, ref string) {
		regctl := harness.NewRegctl(t, ref)
		regctl("image", "copy", "ocidir://"+ociLayout(t, archive)+":v1", ref)
	}},
}

func pushByDocker(t *testing.T, d *harness.Docker, archive, ref string) {
	t.Helper()
	d.Run(t, "load", "--input="+archive)
	d.Run(t, "tag", harness.ImageName+":v1", ref)
	d.Run(t, "push", ref)
}

// ociLayout makes an OCI layout of a file of docker save, and returns its directory.
func ociLayout(t *testing.T, archive string) string {
	t.Helper()
	harness.Need(t, "skopeo")
	dir := t.TempDir()
	harness.Run(t, exec.Command("skopeo", "copy", "docker-archive:"+archive, "oci:"+dir+":v1"))
	return dir
}

// Every client pushes an image. It can be pulled by tag, by digest and by the address that
// the answer to the push tells; it can be deleted, and pushed again.
func TestEveryClientPushes(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store := t.TempDir()
	caddy := newRegistry(t, store)
	for _, p := range pushers {
		t.Run(p.name, func(t *testing.T) {
			repository := "team/" + p.name
			ref := caddy.Host() + "/" + repository + ":v1"
			p.push(t, img.Archive, ref)
			digest := mustBe(t, caddy, 200, repository, "v1").Header.Get("Docker-Content-Digest")
			id := harness.PullBySkopeo(t, ref)
			harness.PullByDocker(t, ref)
			if got := harness.PullBySkopeo(t, caddy.Host()+"/"+repository+"@"+digest); got != id {
				t.Errorf("by digest, the image is %s, and %s by tag", got, id)
			}
			if p.name != "oras" && p.name != "regctl" { // their image was converted to OCI's format before
				img.MustBe(t, id)
			}
			if got := harness.PullBySkopeo(t, caddy.Host()+"/"+addressOf(t, caddy, repository, "v1")+":v1"); got != id {
				t.Errorf("by its address, the image is %s, and %s by tag", got, id)
			}

			deleted := harness.MustSend(t, harness.NoRedirects, "DELETE", caddy.URL+"/v2/"+repository+"/manifests/"+digest)
			if deleted.StatusCode != 202 {
				t.Fatalf("DELETE: %d, %s", deleted.StatusCode, deleted.Text)
			}
			mustBe(t, caddy, 404, repository, "v1")
			mustBe(t, caddy, 404, repository, digest)
			p.push(t, img.Archive, ref)
			if got := harness.PullBySkopeo(t, ref); got != id {
				t.Errorf("pushed again, the image is %s, and was %s", got, id)
			}
		})
	}
}

// addressOf pushes the manifest of a tag again, and returns the repository at the address that
// the answer tells.
func addressOf(t *testing.T, caddy *harness.Caddy, repository, tag string) string {
	t.Helper()
	manifest := mustBe(t, caddy, 200, repository, tag)
	resp := send(t, 201, "PUT", caddy.URL+"/v2/"+repository+"/manifests/"+tag, manifest.Text, "Content-Type", manifest.Header.Get("Content-Type"))
	address, ok := strings.CutPrefix(resp.Header.Get("X-Ipfs-Path"), "/ipfs/")
	if !ok {
		t.Fatalf("%v", resp.Header)
	}
	return address + "/" + repository
}
