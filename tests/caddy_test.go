package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A caddy is Caddy with our module, answering on http://localhost:PORT.
type caddy struct {
	*daemon
	registry string // its URL, for the converter's --registry
}

// newCaddy starts a Caddy whose one site has the given ipfs_registry directive,
// and a page of its own beside it.
func newCaddy(t *testing.T, directive string) *caddy {
	t.Helper()
	site := t.TempDir()
	writeFile(t, filepath.Join(site, "index.html"), "a page")
	port := freePort(t)
	d := startCaddy(t, "caddy", fmt.Sprintf(`
{
	admin off
	persist_config off
	storage file_system %s
	default_bind 127.0.0.1
	log {
		format json
	}
}
http://localhost:%d http://127.0.0.1:%[2]d {
	%s
	root %s
	file_server
}
`, t.TempDir(), port, directive, site), exec.Command)
	return &caddy{d, fmt.Sprintf("http://localhost:%d", port)}
}

// startCaddy runs a Caddyfile, by a command that may put it onto a machine of
// its own.
func startCaddy(t *testing.T, name, caddyfile string, command func(string, ...string) *exec.Cmd) *daemon {
	t.Helper()
	needs(t, "bin/caddy")
	file := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, file, caddyfile)
	d := startDaemon(t, name, command(inRepo("bin/caddy"), "run", "--adapter=caddyfile", "--config="+file))
	d.awaitLine(t, "serving initial configuration")
	return d
}

// host is how references to the registry begin.
func (c *caddy) host() string { return strings.TrimPrefix(c.registry, "http://") }

// mustAnswer is for after something went wrong: Caddy still serves.
func (c *caddy) mustAnswer(t *testing.T) {
	t.Helper()
	if status := get(t, c.registry+"/v2/").StatusCode; status != http.StatusOK {
		t.Errorf("GET /v2/: %d", status)
	}
}

// convert runs the converter on an archive and gives back the one line that it
// prints, which the arguments make a path or a reference.
func convert(t *testing.T, archive string, args ...string) string {
	t.Helper()
	return runForLine(t, converter(t, archive, args...))
}

// runForLine runs a program that prints one line.
func runForLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout := run(t, cmd)
	line, rest, _ := strings.Cut(stdout, "\n")
	if line == "" || rest != "" {
		t.Fatalf("%s printed %q, not one line", cmd, stdout)
	}
	return line
}

// converter is the program, with an archive for its standard input.
func converter(t *testing.T, archive string, args ...string) *exec.Cmd {
	t.Helper()
	needs(t, "bin/converter")
	return withInput(t, exec.Command(inRepo("bin/converter"), args...), archive)
}

// withInput is the program with a file for its standard input.
func withInput(t *testing.T, cmd *exec.Cmd, name string) *exec.Cmd {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	cmd.Stdin = file
	return cmd
}

var reference = regexp.MustCompile(`^localhost:\d+/(ciq[a-z2-7]{52})/` + imageName + `$`)

// root is the address in the reference of the image, which has no tag, since it
// was alone in its archive.
func root(t *testing.T, ref string) string {
	t.Helper()
	m := reference.FindStringSubmatch(ref)
	if m == nil {
		t.Fatalf("not a reference of %s: %s", imageName, ref)
	}
	return m[1]
}

// A descriptor says where in a registry something is.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Size      int    `json:"size"`
	Digest    string `json:"digest"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// fetchManifest asks the registry for an image's manifest, and gives its digest
// as well.
func fetchManifest(t *testing.T, ref string) (m manifest, digest string) {
	t.Helper()
	resp := get(t, repository(ref)+"/manifests/latest")
	if err := json.Unmarshal([]byte(resp.body), &m); err != nil || resp.StatusCode != http.StatusOK || len(m.Layers) == 0 {
		t.Fatalf("%s: %d: %v\n%s", ref, resp.StatusCode, err, resp.body)
	}
	return m, resp.Header.Get("Docker-Content-Digest")
}

// repository is a reference's URL in the registry protocol.
func repository(ref string) string {
	host, name, _ := strings.Cut(ref, "/")
	return "http://" + host + "/v2/" + name
}
