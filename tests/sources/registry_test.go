package sources

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// user is a line of an htpasswd file: the user "user" with the password "secret".
const user = "user:$2a$04$DwfhvOPijtm4ZhkXCvg6Qeq.A2WmnqAmnMgAsaIkTXMOjDx1EZJHO"

// A registry is Docker's own registry.
type registry struct {
	*harness.Daemon
	host string
}

// NewRegistry starts an empty registry. If there are users, lines of an htpasswd file,
// only they may pull and push.
func NewRegistry(t *testing.T, users ...string) registry {
	t.Helper()
	harness.Need(t, "docker-registry")
	dir := t.TempDir()
	host := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nhttp: {addr: %q}\nstorage: {filesystem: {rootdirectory: %q}}\n", host, dir)
	if len(users) > 0 {
		passwords := filepath.Join(dir, "htpasswd")
		harness.WriteFile(t, passwords, strings.Join(users, "\n")+"\n")
		config += fmt.Sprintf("auth: {htpasswd: {realm: registry, path: %q}}\n", passwords)
	}
	file := filepath.Join(dir, "config.yml")
	harness.WriteFile(t, file, config)
	r := registry{harness.StartDaemon(t, "docker-registry", exec.Command("docker-registry", "serve", file)), host}
	r.AwaitLine(t, "listening on")
	return r
}

// fill pushes the image as v1, the same image for another platform as arm64, and an
// index of both as multi.
func (r registry) fill(t *testing.T, img harness.Image) (repository string) {
	t.Helper()
	harness.Need(t, "skopeo", "bin/crane")
	repository = r.host + "/" + harness.ImageName
	harness.Run(t, exec.Command("skopeo", "copy", "--dest-tls-verify=false", "docker-archive:"+img.Archive, "docker://"+repository+":v1"))
	crane := func(args ...string) {
		harness.Run(t, exec.Command(harness.InRepo("bin/crane"), append(args, "--insecure")...))
	}
	crane("mutate", repository+":v1", "--set-platform=linux/arm64", "--tag="+repository+":arm64")
	crane("index", "append", "--manifest="+repository+":v1", "--manifest="+repository+":arm64", "--tag="+repository+":multi")
	return repository
}

// raw returns the bytes of a manifest or index, which skopeo fetches.
func raw(t *testing.T, ref string) string {
	t.Helper()
	return harness.Run(t, exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref))
}

// convertSource runs the converter, whose first argument names the source, and returns
// the one line that it prints.
func convertSource(t *testing.T, args ...string) string {
	t.Helper()
	harness.Need(t, "bin/converter")
	return harness.RunForLine(t, exec.Command(harness.InRepo("bin/converter"), args...))
}

// Images and indexes from a registry keep their manifests to the byte, and so does the
// image that --platform selects from an index.
func TestRegistryImagesKeepTheirManifests(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	from := NewRegistry(t)
	repository := from.fill(t, img)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	for _, test := range []struct {
		name, suffix, same string
		args               []string
	}{
		{"tag", ":v1", ":v1", nil},
		{"digest", "@" + harness.DigestOf([]byte(raw(t, repository+":v1"))), ":v1", nil},
		{"index", ":multi", ":multi", nil},
		{"platform", ":multi", ":arm64", []string{"--platform=linux/arm64"}},
		{"only platform", ":v1", ":v1", []string{"--platform=linux/amd64"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"docker://" + repository + test.suffix, "--store=" + store, "--registry=" + caddy.URL}, test.args...)
			ref := convertSource(t, args...)
			harness.RootOf(t, ref)
			if got, want := raw(t, ref), raw(t, repository+test.same); got != want {
				t.Errorf("the manifest is\n%s, want\n%s", got, want)
			}
			// crane reads the whole image and compares every digest.
			harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "validate", "--insecure", "--remote", ref))
		})
	}
	for suffix, says := range map[string]string{
		":v2":            "has no team/app:v2: there is arm64, multi, v1",
		"/blobs:v1":      `every image has a directory "blobs".*--name`,
		":v1 --platform": "has no image for windows/amd64: there is linux/amd64",
	} {
		source, flag, _ := strings.Cut("docker://"+repository+suffix, " ")
		args := []string{source, "--store=" + t.TempDir()}
		if flag != "" {
			args = append(args, flag+"=windows/amd64")
		}
		harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), args...), says)
	}
	nobody := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "docker://"+nobody+"/app", "--store="+t.TempDir()), nobody+".*connection refused")
}

// With --recompress, an image from a registry has the address of the archive that it was
// pushed from.
func TestRecompressedRegistryImageHasAddressOfArchive(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	repository := NewRegistry(t).fill(t, img)
	store := t.TempDir()
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+store))
	if got := harness.RootOf(t, convertSource(t, "docker://"+repository+":v1", "--recompress", "--store="+store)); got != address {
		t.Errorf("the image is at %s, want %s", got, address)
	}
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := convertSource(t, "docker://"+repository+":multi", "--recompress", "--store="+store, "--registry="+caddy.URL)
	harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "validate", "--insecure", "--remote", ref))
	img.MustBe(t, harness.PullByDocker(t, ref))
	img.MustBe(t, harness.PullByPodman(t, ref))
}

// The converter logs in to a registry with the credentials that docker login stored.
func TestRegistryCredentialsAreThoseOfDocker(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "bin/converter")
	img := harness.DockerImage(t)
	from := NewRegistry(t, user)
	image := from.host + "/" + harness.ImageName + ":v1"
	harness.Run(t, exec.Command("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds=user:secret", "docker-archive:"+img.Archive, "docker://"+image))
	as := func(auth string) *exec.Cmd {
		home := t.TempDir()
		harness.WriteFile(t, filepath.Join(home, "config.json"), fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, from.host, auth))
		cmd := exec.Command(harness.InRepo("bin/converter"), "docker://"+image, "--store="+t.TempDir())
		cmd.Env = append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home)
		return cmd
	}
	harness.RootOf(t, harness.RunForLine(t, as(base64.StdEncoding.EncodeToString([]byte("user:secret")))))
	harness.MustRefuse(t, as(base64.StdEncoding.EncodeToString([]byte("user:wrong"))), "docker login "+from.host)
	harness.MustRefuse(t, as(""), "docker login "+from.host)
}

// An image that this registry serves has the same address when it is converted from
// there. The registry's certificate must be trusted, unless a flag waives that.
func TestOwnRegistryGivesTheSameAddress(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	machine := harness.NewMachine(t, "registry.test")
	data, store := t.TempDir(), t.TempDir()
	harness.StartCaddy(t, "registry", fmt.Sprintf(`
{
	admin off
	persist_config off
	skip_install_trust
	storage file_system %s
}
registry.test {
	tls internal
	ipfs_registry {
		store %s
	}
}
`, data, store), machine.Command).AwaitLine(t, "certificate obtained successfully")
	trusted := filepath.Join(data, "pki/authorities/local/root.crt")
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+store))
	from := func(trusted string, args ...string) *exec.Cmd {
		args = append([]string{"docker://registry.test/" + address + "/" + harness.ImageName + ":v1", "--store=" + t.TempDir()}, args...)
		cmd := machine.Command(harness.InRepo("bin/converter"), args...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+trusted)
		return cmd
	}
	for _, cmd := range []*exec.Cmd{from(trusted), from(os.DevNull, "--src-tls-verify=false")} {
		if got := harness.RootOf(t, harness.RunForLine(t, cmd)); got != address {
			t.Errorf("the image is at %s, want %s", got, address)
		}
	}
	harness.MustRefuse(t, from(os.DevNull), "registry.test.*unknown authority")
}
