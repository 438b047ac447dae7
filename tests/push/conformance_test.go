package push

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The registry passes the conformance tests of the OCI distribution specification, those
// of its next version too. It leaves out what it may: to mount a blob without saying from
// where, which would tell which blobs others have; and to refuse a range that ends before it
// begins, which it ignores, as HTTP allows.
func TestDistributionConformance(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/conformance")
	host := newRegistry(t, t.TempDir()).Host()
	cmd := exec.Command(harness.InRepo("bin/conformance"))
	cmd.Dir = t.TempDir() // for its report
	cmd.Env = append(os.Environ(),
		"OCI_VERSION=dev", "OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_REPO1=conformance/one", "OCI_REPO2=conformance/two",
		"OCI_API_BLOBS_MOUNT_ANONYMOUS=false",
	)
	stdout, stderr, err := harness.Try(cmd)
	counts := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  (\w+)\.+: +(\d+)$`).FindAllStringSubmatch(stdout, -1) {
		counts[m[1]] = m[2]
	}
	t.Log(counts)
	skipped := len(regexp.MustCompile(`(?m)range requests/range 500-0: Skip$`).FindAllString(stdout, -1))
	passed, _ := strconv.Atoi(counts["Pass"])
	if err != nil || passed < 900 || counts["Skip"] != strconv.Itoa(skipped) || counts["Disabled"] != "2" || counts["FAIL"] != "0" || counts["Error"] != "0" {
		report, _, _ := strings.Cut(stdout, "Configuration:")
		t.Errorf("%v: %s\n%s", err, report, stderr)
	}
}
