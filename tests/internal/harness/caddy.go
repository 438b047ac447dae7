package harness

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A Caddy is a running Caddy with the module.
type Caddy struct {
	*Daemon
	URL string // http://localhost:PORT, also for the converter's --registry
}

// NewCaddy starts a Caddy with one site, which has the given ipfs_registry directive
// and a page, "a page".
func NewCaddy(t *testing.T, directive string) *Caddy {
	t.Helper()
	site := t.TempDir()
	WriteFile(t, filepath.Join(site, "index.html"), "a page")
	port := FreePort(t)
	d := StartCaddy(t, "caddy", fmt.Sprintf(`
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
	return &Caddy{d, fmt.Sprintf("http://localhost:%d", port)}
}

// StartCaddy starts a Caddy with a Caddyfile. The function command makes its command:
// exec.Command does, or Machine.Command.
func StartCaddy(t *testing.T, name, caddyfile string, command func(string, ...string) *exec.Cmd) *Daemon {
	t.Helper()
	Need(t, "bin/caddy")
	file := filepath.Join(t.TempDir(), "Caddyfile")
	WriteFile(t, file, caddyfile)
	d := StartDaemon(t, name, command(InRepo("bin/caddy"), "run", "--adapter=caddyfile", "--config="+file))
	d.AwaitLine(t, "serving initial configuration")
	return d
}

// Host returns the beginning of references to the registry: its host and port.
func (c *Caddy) Host() string { return strings.TrimPrefix(c.URL, "http://") }

// MustAnswer fails the test unless Caddy still answers.
func (c *Caddy) MustAnswer(t *testing.T) {
	t.Helper()
	if status := Get(t, c.URL+"/v2/").StatusCode; status != http.StatusOK {
		t.Errorf("GET /v2/: %d", status)
	}
}

// MustHave fails the test unless the registry serves the whole image at path. The given
// number of clients fetch each blob at the same time. It returns the size of all blobs.
func (c *Caddy) MustHave(t *testing.T, path string, clients int) (size int64) {
	t.Helper()
	m, _ := FetchManifest(t, c.Host()+"/"+path)
	var all sync.WaitGroup
	for _, blob := range append([]Descriptor{m.Config}, m.Layers...) {
		size += int64(blob.Size)
		for range clients {
			all.Go(func() {
				resp, err := Fetch(Repository(c.Host()+"/"+path) + "/blobs/" + blob.Digest)
				if err != nil || resp.StatusCode != http.StatusOK || DigestOf([]byte(resp.Text)) != blob.Digest {
					t.Errorf("blob %s: %v, %d bytes, %v", blob.Digest, resp.Response, len(resp.Text), err)
				}
			})
		}
	}
	all.Wait()
	return size
}

// StopGently stops Caddy without ever killing it, so that every fill is kept or removed
// however long the disk takes.
func (c *Caddy) StopGently() {
	c.Cmd.Process.Signal(c.StopSignal)
	<-c.Ended
}

// HostOfName returns the beginning of references by an IPNS key or domain.
func (c *Caddy) HostOfName(key string) string { return c.Host() + "/ipns/" + key }
