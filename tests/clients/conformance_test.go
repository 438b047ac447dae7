package clients

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The registry passes the conformance tests of the OCI distribution specification for a
// registry without push.
func TestDistributionConformance(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/conformance")
	s := newSigned(t)
	blobs := []string{s.config}
	for _, layer := range s.layers {
		blobs = append(blobs, layer.Digest)
	}
	manifests := []string{s.v1.Digest, s.v2.Digest, s.signature.Digest, s.sbom.Digest, s.vex.Digest, s.sig.Digest}
	onBoth(t, s.archive, func(t *testing.T, ref string) {
		host, name, _ := strings.Cut(ref, "/")
		cmd := exec.Command(harness.InRepo("bin/conformance"))
		cmd.Dir = t.TempDir() // for its report
		cmd.Env = append(os.Environ(),
			"OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_REPO1="+name,
			"OCI_API_BLOBS_DIGEST_HEADER=true",
			"OCI_API_PUSH=false", "OCI_API_TAGS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_BLOBS_DELETE=false",
			"OCI_API_TAGS_ATOMIC=false", "OCI_API_MANIFESTS_ATOMIC=false", "OCI_API_BLOBS_ATOMIC=false",
			"OCI_RO_DATA_TAGS="+strings.Join(s.tags, " "),
			"OCI_RO_DATA_MANIFESTS="+strings.Join(manifests, " "),
			"OCI_RO_DATA_BLOBS="+strings.Join(blobs, " "),
			"OCI_RO_DATA_REFERRERS="+s.v1.Digest+" "+s.v2.Digest,
		)
		// The exit status does not count: it is that of the report at the end, which
		// fails without push.
		stdout, stderr, _ := harness.Try(cmd)
		counts := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^  (\w+)\.+: +(\d+)$`).FindAllStringSubmatch(stdout, -1) {
			counts[m[1]] = m[2]
		}
		t.Log(counts)
		passed, _ := strconv.Atoi(counts["Pass"])
		asked := 2 * (len(s.tags) + len(manifests) + len(blobs)) // by GET and by HEAD
		if passed < asked || counts["Skip"] != "0" || counts["FAIL"] != "0" || counts["Error"] != "0" {
			t.Errorf("%s%s", stdout, stderr)
		}
	})
}
