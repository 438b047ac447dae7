package push

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Cosign signs an image and attests to it, both with bundles that are referrers and in the older
// format of tags. The signatures verify by tag and by address, fail to verify after they were
// deleted, and verify again after cosign has signed again.
func TestCosign(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/cosign", "bin/crane")
	keys := t.TempDir()
	try := func(args ...string) error {
		cmd := exec.Command(harness.InRepo("bin/cosign"), args...)
		cmd.Dir = keys
		cmd.Env = append(os.Environ(), "HOME="+keys, "COSIGN_PASSWORD=x", "TUF_ROOT="+filepath.Join(keys, "tuf"))
		stdout, stderr, err := harness.Try(cmd)
		if err != nil {
			err = fmt.Errorf("cosign %s: %w\n%s%s", strings.Join(args, " "), err, stdout, stderr)
		}
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(try("generate-key-pair"))
	harness.WriteFile(t, filepath.Join(keys, "predicate.json"), `{"built": "by hand"}`)
	archive := harness.ArchiveOfLayers(t, "team/app:v1", "a layer")
	caddy := newRegistry(t, t.TempDir())
	for name, format := range map[string]string{"bundle": "--new-bundle-format=true", "tag": "--new-bundle-format=false"} {
		t.Run(name, func(t *testing.T) {
			repository := "team/" + name
			ref := caddy.Host() + "/" + repository
			harness.Run(t, exec.Command(harness.InRepo("bin/crane"), "push", "--insecure", archive, ref+":v1"))
			digest := mustBe(t, caddy, 200, repository, "v1").Header.Get("Docker-Content-Digest")
			sign := func() {
				t.Helper()
				offline := []string{"--key=cosign.key", "--tlog-upload=false", "--use-signing-config=false", "--yes", "--allow-http-registry", format}
				must(try(append(append([]string{"sign"}, offline...), ref+"@"+digest)...))
				must(try(append(append([]string{"attest", "--type=custom", "--predicate=predicate.json"}, offline...), ref+"@"+digest)...))
			}
			verify := func(ref string) error {
				offline := []string{"--key=cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry", format}
				for _, command := range [][]string{{"verify"}, {"verify-attestation", "--type=custom"}} {
					if err := try(append(append(command, offline...), ref)...); err != nil {
						return err
					}
				}
				return nil
			}
			if verify(ref+":v1") == nil {
				t.Error("an image without a signature verifies")
			}
			sign()
			signatures := signaturesOf(t, caddy, repository, digest)
			if len(signatures) != 2 {
				t.Fatalf("the image has the signatures %v", signatures)
			}
			for _, signed := range []string{ref + ":v1", ref + "@" + digest, caddy.Host() + "/" + addressOf(t, caddy, repository, "v1") + ":v1"} {
				must(verify(signed))
			}
			for _, signature := range signatures {
				send(t, 202, "DELETE", caddy.URL+"/v2/"+repository+"/manifests/"+signature, "")
			}
			if verify(ref+":v1") == nil {
				t.Error("the image verifies although its signatures were deleted")
			}
			sign()
			must(verify(ref + ":v1"))
		})
	}
}

// signaturesOf returns the digests of a manifest's referrers, and the tags that begin with the
// digest of the manifest.
func signaturesOf(t *testing.T, caddy *harness.Caddy, repository, digest string) (signatures []string) {
	t.Helper()
	var index struct{ Manifests []harness.Descriptor }
	var list struct{ Tags []string }
	for path, into := range map[string]any{"/referrers/" + digest: &index, "/tags/list": &list} {
		if err := json.Unmarshal([]byte(harness.Get(t, caddy.URL+"/v2/"+repository+path).Text), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range index.Manifests {
		signatures = append(signatures, d.Digest)
	}
	for _, tag := range list.Tags {
		if strings.HasPrefix(tag, strings.Replace(digest, ":", "-", 1)) {
			signatures = append(signatures, tag)
		}
	}
	return signatures
}
