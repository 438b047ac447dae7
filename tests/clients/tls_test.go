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

// A site with the registry obtains its certificate by ACME, as every site of Caddy does.
// The authority is a second Caddy. Both run on their own machine, where ports 80 and 443
// are free and the names resolve.
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
	// A client that does not trust the authority refuses, so the certificate is really
	// the authority's.
	if _, stderr, err := harness.Try(pull(os.DevNull)); err == nil || !strings.Contains(stderr, "unknown authority") {
		t.Errorf("skopeo pulls without trusting the authority: %v\n%s", err, stderr)
	}
	harness.Run(t, pull(rootCertificate))
	img.MustBe(t, harness.ConfigDigest(t, harness.ReadFile(t, filepath.Join(dir, "manifest.json"))))
}
