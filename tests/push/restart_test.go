package push

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// send sends a request with a body to a registry, and fails the test unless it is answered
// with the status.
func send(t *testing.T, status int, method, url, content string, header ...string) harness.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := harness.NoRedirects.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if body.ReadFrom(resp.Body); resp.StatusCode != status {
		t.Fatalf("%s %s: %s, want %d\n%s", method, url, resp.Status, status, &body)
	}
	return harness.Response{Response: resp, Text: body.String()}
}

// An upload survives the end of Caddy, also if it is killed, and goes on at the byte that
// its state names.
func TestUploadSurvivesRestart(t *testing.T) {
	harness.Parallel(t)
	store := t.TempDir()
	caddy := newRegistry(t, store)
	location := send(t, 202, "POST", caddy.URL+"/v2/app/blobs/uploads/", "").Header.Get("Location")
	content := harness.Noise(3 << 20)
	send(t, 202, "PATCH", caddy.URL+location, content[:1<<20])
	caddy.Cmd.Process.Kill()
	<-caddy.Ended

	caddy = newRegistry(t, store)
	if got := send(t, 204, "GET", caddy.URL+location, "").Header.Get("Range"); got != fmt.Sprintf("0-%d", 1<<20-1) {
		t.Fatalf("Range: %s", got)
	}
	d := harness.DigestOf([]byte(content))
	send(t, 202, "PATCH", caddy.URL+location, content[1<<20:2<<20], "Content-Range", fmt.Sprintf("%d-%d", 1<<20, 2<<20-1))
	send(t, 201, "PUT", caddy.URL+location+"?digest="+d, content[2<<20:])
	if got := harness.Get(t, caddy.URL+"/v2/app/blobs/"+d); got.Text != content {
		t.Errorf("%d, %d bytes", got.StatusCode, len(got.Text))
	}
}

// Locations are right below a path, behind another proxy, and behind one that strips the path
// and puts it back into Location.
func TestLocationsBehindProxies(t *testing.T) {
	harness.Parallel(t)
	directive := fmt.Sprintf("handle_path /registry/* {\nipfs_registry {\nstore %s\npush {\nanonymous\n}\n}\n}", t.TempDir())
	inner := harness.NewCaddy(t, directive)
	outer := harness.NewCaddy(t, "reverse_proxy /registry/* "+inner.URL)
	strips := harness.NewCaddy(t, "handle_path /registry/* {\nreverse_proxy "+newRegistry(t, t.TempDir()).URL+" {\nheader_down Location ^/v2/ /registry/v2/\n}\n}")
	for _, url := range []string{inner.URL, outer.URL, strips.URL} {
		location := send(t, 202, "POST", url+"/registry/v2/app/blobs/uploads/", "").Header.Get("Location")
		if !strings.HasPrefix(location, "/registry/v2/app/blobs/uploads/") {
			t.Fatalf("Location: %s", location)
		}
		d := harness.DigestOf([]byte(url))
		location = send(t, 201, "PUT", url+location+"?digest="+d, url).Header.Get("Location")
		if got := harness.Get(t, url+location); got.Text != url {
			t.Errorf("%s: %d", location, got.StatusCode)
		}
	}
}

// A client whose registry address has a path pushes and pulls below that path.
func TestPushBelowAPath(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	ctr := harness.NewContainerd(t)
	caddy := harness.NewCaddy(t, fmt.Sprintf("handle_path /registry/* {\nipfs_registry {\nstore %s\npush {\nanonymous\n}\n}\n}", t.TempDir()))
	hosts := t.TempDir()
	harness.WriteFile(t, filepath.Join(hosts, caddy.Host(), "hosts.toml"), fmt.Sprintf(`
server = "%[1]s/registry/v2"
[host."%[1]s/registry/v2"]
capabilities = ["pull", "resolve", "push"]
override_path = true
`, caddy.URL))
	ref := caddy.Host() + "/team/app:v1"
	ctr("images", "import", "--no-unpack", img.Archive)
	ctr("images", "tag", "docker.io/"+harness.ImageName+":v1", ref)
	ctr("images", "push", "--hosts-dir="+hosts, ref)
	other := harness.NewContainerd(t)
	other("images", "pull", "--hosts-dir="+hosts, "--snapshotter=native", ref)
	img.MustBe(t, harness.ConfigByCtr(t, other, ref))
}

// Only clients that Caddy has authenticated push, and everybody pulls.
func TestPushNeedsPassword(t *testing.T) {
	harness.Parallel(t)
	caddy := harness.NewCaddy(t, fmt.Sprintf(`@writer not method GET HEAD
	basic_auth @writer {
		alice $2a$14$bV36JA1rsB0br.veycMLK.J5EwyHqf0QHIwMSd/HHG7YodQhItjDi
	}
	ipfs_registry {
		store %s
		push
	}`, t.TempDir()))
	d := harness.DigestOf([]byte("x"))
	url := caddy.URL + "/v2/app/blobs/uploads/?digest=" + d
	send(t, 401, "POST", url, "x")
	send(t, 201, "POST", url, "x", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:correct horse")))
	if got := harness.Get(t, caddy.URL+"/v2/app/blobs/"+d); got.Text != "x" {
		t.Errorf("%d", got.StatusCode)
	}

	open := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\npush\n}", t.TempDir()))
	resp := send(t, 401, "POST", open.URL+"/v2/app/blobs/uploads/", "")
	if !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("%v", resp.Header)
	}
	open.MustAnswer(t)
}
