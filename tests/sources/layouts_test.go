package sources

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Images in layouts and archives of skopeo keep their manifests to the byte. From a
// layout of several images, each can be selected.
func TestLayoutsOfSkopeoKeepTheirManifests(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "bin/crane")
	img := harness.DockerImage(t)
	repository := NewRegistry(t).fill(t, img)
	dir := t.TempDir()
	layout, archive := filepath.Join(dir, "layout"), filepath.Join(dir, "archive.tar")
	copyTo := func(from, to string) {
		harness.Run(t, exec.Command("skopeo", "copy", "--all", "--src-tls-verify=false", from, to))
	}
	copyTo("docker://"+repository+":multi", "oci:"+layout+":multi")
	copyTo("docker://"+repository+":v1", "oci:"+layout+":team/app:one")
	copyTo("docker://"+repository+":multi", "oci-archive:"+archive+":"+harness.ImageName+":multi")

	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	to := []string{"--store=" + store, "--registry=" + caddy.URL, "--name=" + harness.ImageName}
	rawOf := func(source string) string { return harness.Run(t, exec.Command("skopeo", "inspect", "--raw", source)) }
	index := rawOf("oci:" + layout + ":multi")
	var platforms struct {
		Manifests []struct {
			harness.Descriptor
			Platform struct{ Architecture string }
		}
	}
	if err := json.Unmarshal([]byte(index), &platforms); err != nil || len(platforms.Manifests) != 2 || platforms.Manifests[1].Platform.Architecture != "arm64" {
		t.Fatalf("skopeo wrote %s: %v", index, err)
	}
	_, arm64, _ := strings.Cut(platforms.Manifests[1].Digest, ":")
	for _, test := range []struct{ source, platform, raw string }{
		{"oci:" + layout + ":multi", "", index},
		{"oci:" + layout + ":multi", "linux/arm64", harness.ReadFile(t, filepath.Join(layout, "blobs/sha256", arm64))},
		{"oci-archive:" + archive, "", index},
		{"oci-archive:" + archive + ":" + harness.ImageName + ":multi", "", index},
		{"oci:" + layout + ":team/app:one", "", rawOf("oci:" + layout + ":team/app:one")},
	} {
		ref := convertSource(t, append([]string{test.source, "--platform=" + test.platform}, to...)...)
		if got := raw(t, ref); got != test.raw {
			t.Errorf("%s, platform %q: the manifest is\n%s, want\n%s", test.source, test.platform, got, test.raw)
		}
		harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "validate", "--insecure", "--remote", ref))
	}
	for source, says := range map[string]string{
		"oci:" + layout + ":none":         `no image in .* is called "none": there is multi, team/app:one`,
		"oci:" + dir:                      "is no OCI layout",
		"oci-archive:" + layout:           "is a directory.*oci:",
		"docker-archive:" + archive + "x": "no such file",
	} {
		harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), source, "--store="+t.TempDir()), says)
	}
}

// A podman archive in Docker's format has the address of what Docker saves. One in OCI's
// format has another, since podman writes another config, and is pulled with that
// config.
func TestPodmanArchivesGiveAddressOfDockerSave(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	podman := harness.NewPodman(t)
	podman("load", "--quiet", "--input="+img.Archive)
	id := "sha256:" + podman("image", "inspect", "--format={{.Id}}", harness.ImageName+":v1")
	img.MustBe(t, id)
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir()))
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	for _, test := range []struct {
		format string
		flags  []string
		same   bool
	}{
		{"docker-archive", nil, true},
		{"oci-archive", nil, false},
		{"oci-archive", []string{"--recompress"}, false},
	} {
		archive := filepath.Join(t.TempDir(), "archive.tar")
		podman("save", "--quiet", "--format="+test.format, "--output="+archive, harness.ImageName+":v1")
		args := append([]string{test.format + ":" + archive, "--store=" + store, "--registry=" + caddy.URL}, test.flags...)
		ref := convertSource(t, args...)
		if got := harness.RootOf(t, ref); (got == address) != test.same {
			t.Errorf("%s %s is at %s, and what Docker saves at %s", test.format, strings.Join(test.flags, " "), got, address)
		}
		want := img.ID
		if !test.same { // podman wrote another config
			want = harness.ConfigDigest(t, harness.Run(t, exec.Command("skopeo", "inspect", "--raw", "oci-archive:"+archive)))
		}
		if got := harness.PullByDocker(t, ref); got != want {
			t.Errorf("%s: Docker got the image %s, want %s", test.format, got, want)
		}
	}
}

// Blobs and manifests that have sha512 digests are served by them. None of the clients
// here pulls such an image: skopeo and ctr give sha256 digests to all that they write.
func TestSHA512DigestsAreServed(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	archive := harness.ReadArchive(t, img.Archive)
	blobs := map[string]string{} // by the path in the layout
	add := func(mediaType, content string) map[string]any {
		digest := fmt.Sprintf("%x", sha512.Sum512([]byte(content)))
		blobs["blobs/sha512/"+digest] = content
		return map[string]any{"mediaType": mediaType, "digest": "sha512:" + digest, "size": len(content)}
	}
	marshal := func(v any) string {
		content, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	saved := archive.Saved(t)
	var layers []any
	for _, layer := range saved.Layers {
		layers = append(layers, add("application/vnd.oci.image.layer.v1.tar+gzip", string(harness.Gzipped(t, archive.File(t, layer)))))
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	config := add("application/vnd.oci.image.config.v1+json", string(archive.File(t, saved.Config)))
	manifest := marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers})
	top := add(manifestType, manifest)
	top["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "v1"}
	dir, store := t.TempDir(), t.TempDir()
	harness.WriteFile(t, filepath.Join(dir, "index.json"), marshal(map[string]any{"schemaVersion": 2, "manifests": []any{top}}))
	for path, content := range blobs {
		harness.WriteFile(t, filepath.Join(dir, path), content)
	}
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := convertSource(t, "oci:"+dir, "--store="+store, "--registry="+caddy.URL, "--name="+harness.ImageName)
	for path, content := range blobs {
		digest := strings.Replace(strings.TrimPrefix(path, "blobs/"), "/", ":", 1)
		kind := "/blobs/"
		if content == manifest {
			kind = "/manifests/"
		}
		resp := harness.Get(t, harness.Repository(ref)+kind+digest)
		if resp.StatusCode != http.StatusOK || resp.Text != content || resp.Header.Get("Docker-Content-Digest") != digest {
			t.Errorf("%s: %s, %d bytes, %v", digest, resp.Status, len(resp.Text), resp.Header)
		}
	}
}
