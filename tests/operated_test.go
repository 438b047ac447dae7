package tests

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// An operated is a Caddy that somebody looks after: with an admin endpoint, and
// with an access log.
type operated struct {
	*caddy
	admin     string // its URL
	caddyfile func(site string) string
}

// newOperated starts a Caddy whose one site is this, with variables added to its
// environment.
func newOperated(t *testing.T, site string, environment ...string) *operated {
	t.Helper()
	port, admin, storage := freePort(t), freePort(t), t.TempDir()
	o := &operated{admin: fmt.Sprintf("http://127.0.0.1:%d", admin)}
	o.caddyfile = func(site string) string {
		return fmt.Sprintf(`
{
	admin 127.0.0.1:%d
	persist_config off
	storage file_system %s
	default_bind 127.0.0.1
	log {
		format json
	}
}
http://localhost:%d http://127.0.0.1:%[3]d {
	log
	%s
}
`, admin, storage, port, site)
	}
	d := startCaddy(t, "caddy", o.caddyfile(site), func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), environment...)
		return cmd
	})
	o.caddy = &caddy{d, fmt.Sprintf("http://localhost:%d", port)}
	return o
}

// load puts a site in the place of the one that there is. The endpoint is replaced
// as well, and may cut off who comes in that moment.
func (o *operated) load(t *testing.T, site string) {
	t.Helper()
	o.await(t, "a new configuration", func() bool {
		resp, err := http.Post(o.admin+"/load", "text/caddyfile", strings.NewReader(o.caddyfile(site)))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			t.Fatalf("loading a configuration: %s %s", resp.Status, body)
		}
		return true
	})
}

// ask sends the admin endpoint a request.
func (o *operated) ask(t *testing.T, method, path string) response {
	t.Helper()
	return mustSend(t, direct, method, o.admin+path)
}
