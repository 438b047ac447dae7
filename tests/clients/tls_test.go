package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The registry gets its certificate by itself, as every site of Caddy's does:
// here from an authority that is a Caddy as well, over ACME, on a machine of
// their own, where ports 80 and 443 are free and the names exist.
func TestSiteGetsItsCertificateByACME(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo")
	img := harness.DockerImage(t)
	machine := harness.NewMachine(t, "authority.test", "registry.test")
	authority, store := t.TempDir(), t.TempDir()
	harness.StartCaddy(t, "authority", fmt.Sprintf(`
{
	admin off
	persist_config off
	skip_install_trust
	storage file_system %s
	auto_https disable_redirects
	https_port 8443
}
authority.test {
	tls internal
	acme_server
}
`, authority), machine.Command)
	rootCertificate := filepath.Join(authority, "pki/authorities/local/root.crt")
	registry := harness.StartCaddy(t, "registry", fmt.Sprintf(`
{
	admin off
	persist_config off
	skip_install_trust
	storage file_system %s
	acme_ca https://authority.test:8443/acme/local/directory
	acme_ca_root %s
}
registry.test {
	ipfs_registry {
		store %s
	}
}
`, t.TempDir(), rootCertificate, store), machine.Command)
	registry.AwaitLine(t, "certificate obtained successfully")

	ref := harness.Convert(t, img.Archive, "--store="+store, "--registry=https://registry.test")
	dir := t.TempDir()
	pull := func(trusted string) *exec.Cmd {
		cmd := machine.Command("skopeo", "copy", "docker://"+ref, "dir:"+dir)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+trusted)
		return cmd
	}
	// That it is HTTPS, and this authority's, shows in what happens to whoever
	// does not trust it.
	if _, stderr, err := harness.Try(pull(os.DevNull)); err == nil || !strings.Contains(stderr, "unknown authority") {
		t.Errorf("skopeo did not mind a certificate that it has no reason to trust: %v\n%s", err, stderr)
	}
	harness.Run(t, pull(rootCertificate))
	img.MustBe(t, harness.ConfigDigest(t, harness.ReadFile(t, filepath.Join(dir, "manifest.json"))))
}
