package clients

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Every client gets the same bytes, whichever media types it accepts and however it
// writes them, and whichever compressions it accepts from a site that compresses its
// pages.
func TestAnswersAreTheSameForEveryAcceptAndEncoding(t *testing.T) {
	harness.Parallel(t)
	s := newSigned(t)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf(`encode {
		zstd
		gzip
		minimum_length 1
		match {
			header Content-Type *
		}
	}
	ipfs_registry {
		store %s
	}`, store))
	url := harness.Repository(atOneRoot(t, caddy, s.archive, "--store="+store))
	for _, encoding := range []string{"zstd", "gzip"} {
		if resp := harness.AskPlainly(t, http.MethodGet, caddy.URL+"/", "Accept-Encoding", encoding); resp.Header.Get("Content-Encoding") != encoding {
			t.Fatalf("the site does not compress its pages: %v", resp.Header)
		}
	}
	for path, content := range map[string]struct{ mediaType, digest string }{
		"/manifests/v1":                {harness.OCIManifest, s.v1.Digest},
		"/manifests/" + s.sbom.Digest:  {harness.OCIManifest, s.sbom.Digest},
		"/manifests/" + s.tags[0]:      {harness.OCIIndex, ""},
		"/blobs/" + s.config:           {"application/octet-stream", s.config},
		"/blobs/" + s.layers[0].Digest: {"application/octet-stream", s.layers[0].Digest},
		"/referrers/" + s.v1.Digest:    {harness.OCIIndex, ""},
		"/tags/list":                   {"application/json", ""},
		"/manifests/v9":                {"application/json", ""},
	} {
		plain := harness.AskPlainly(t, http.MethodGet, url+path)
		if content.digest != "" && harness.DigestOf([]byte(plain.Text)) != content.digest {
			t.Errorf("%s has the digest %s", path, harness.DigestOf([]byte(plain.Text)))
		}
		for _, header := range [][]string{
			{"Accept-Encoding", "zstd, gzip, deflate"},
			{"Accept-Encoding", "gzip"},
			{"Accept", harness.OCIManifest + ", " + harness.OCIIndex + "," + harness.DockerManifestType + ", */*;q=0.1"},
			{"Accept", "application/json"},
			{"Accept", "", "Accept-Encoding", "*"},
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				resp := harness.AskPlainly(t, method, url+path, header...)
				for _, name := range []string{"Etag", "Content-Length", "Content-Encoding", "Docker-Content-Digest", "Cache-Control"} {
					if got, want := resp.Header.Get(name), plain.Header.Get(name); got != want {
						t.Errorf("%s %s with %q: %s is %q, want %q", method, path, header, name, got, want)
					}
				}
				if resp.Header.Get("Content-Type") != content.mediaType || resp.StatusCode != plain.StatusCode {
					t.Errorf("%s %s with %q: %s, %s", method, path, header, resp.Status, resp.Header.Get("Content-Type"))
				}
				if method == http.MethodGet && resp.Text != plain.Text || method == http.MethodHead && resp.Text != "" {
					t.Errorf("%s %s with %q: the body has %d bytes or other content, want that of %d", method, path, header, len(resp.Text), len(plain.Text))
				}
			}
		}
	}
}

// A site's handle_errors answers failures of gateways. If the site has none for the
// status, clients get an error in the registry's format.
func TestSiteHandlesGatewayErrors(t *testing.T) {
	harness.Parallel(t)
	port, nobody := harness.FreePort(t), harness.FreePort(t)
	caddy := harness.StartCaddy(t, "caddy", fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %s
}
(registry) {
	bind 127.0.0.1 127.0.0.2 127.0.0.3
	ipfs_registry http://127.0.0.1:%d
}
http://127.0.0.1:%d {
	import registry
}
http://127.0.0.2:%[3]d {
	import registry
	handle_errors {
		respond "ours: {err.status_code}"
	}
}
http://127.0.0.3:%[3]d {
	import registry
	handle_errors 404 {
		respond "not here"
	}
}
`, t.TempDir(), nobody, port), exec.Command)
	for host, want := range map[string]string{"127.0.0.1": "UNAVAILABLE", "127.0.0.2": "ours: 502", "127.0.0.3": "UNAVAILABLE"} {
		resp := harness.Get(t, fmt.Sprintf("http://%s:%d/v2/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354/app/manifests/v1", host, port))
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(resp.Text, want) {
			t.Errorf("%s answers with %d, want 502 and %q: %s", host, resp.StatusCode, want, resp.Text)
		}
	}
	if log := caddy.Log.String(); strings.Count(log, "connection refused") < 3 {
		t.Errorf("the log lacks the reason of a failure: %s", log)
	}
}

// If an address does not have what a client asks for, Docker and skopeo show what it
// has: other tags, other names, or that it is a file.
func TestErrorsSayWhatTheAddressHolds(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo")
	s := newSigned(t)
	onBoth(t, s.archive, func(t *testing.T, ref string) {
		host, rest, _ := strings.Cut(ref, "/")
		address, _, _ := strings.Cut(rest, "/")
		sum, err := hex.DecodeString(strings.TrimPrefix(s.config, "sha256:"))
		if err != nil {
			t.Fatal(err)
		}
		file := "b" + harness.LowerBase32.EncodeToString(append([]byte{0x01, 0x55, 0x12, 0x20}, sum...)) // the config, one raw leaf
		d := harness.NewDocker(t)
		for _, told := range []struct {
			cmd  *exec.Cmd
			says string
		}{
			{d.Command("pull", ref+":v9"), "there is no manifest v9 at this address; its tags are " + strings.Join(s.tags, ", ")},
			{d.Command("pull", host+"/"+address), "is a directory with team"},
			{d.Command("pull", host+"/"+file), "is a file, and an image is a directory"},
			{exec.Command("skopeo", "inspect", "--tls-verify=false", "docker://"+ref+":v9"), "its tags are " + strings.Join(s.tags, ", ")},
		} {
			if _, stderr, err := harness.Try(told.cmd); err == nil || !strings.Contains(stderr, told.says) {
				t.Errorf("%s prints %q, want %q", told.cmd, stderr, told.says)
			}
		}
		d.Run(t, "pull", ref+":v1")
		if _, stderr, err := harness.Try(d.Command("push", ref+":v1")); err == nil || !strings.Contains(stderr, "read-only") {
			t.Errorf("docker push prints %q, want that the registry is read-only", stderr)
		}
	})
}
