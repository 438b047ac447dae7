package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An Operated is a Caddy with an admin endpoint and an access log.
type Operated struct {
	*Caddy
	admin     string // the admin endpoint's URL
	caddyfile func(site string) string
}

// NewOperated starts a Caddy with one site. The variables are added to its environment.
func NewOperated(t *testing.T, site string, environment ...string) *Operated {
	t.Helper()
	return NewOperatedBy(t, site, func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), environment...)
		return cmd
	})
}

// NewOperatedBy is NewOperated for a Caddy that a command starts, such as one with a
// limit of memory.
func NewOperatedBy(t *testing.T, site string, command func(string, ...string) *exec.Cmd) *Operated {
	t.Helper()
	port, admin, storage := FreePort(t), FreePort(t), t.TempDir()
	o := &Operated{admin: fmt.Sprintf("http://127.0.0.1:%d", admin)}
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
	d := StartCaddy(t, "caddy", o.caddyfile(site), command)
	o.Caddy = &Caddy{d, fmt.Sprintf("http://localhost:%d", port)}
	return o
}

// Load replaces the site. Caddy also replaces its admin endpoint, and may reset
// connections meanwhile, so Load tries again.
func (o *Operated) Load(t *testing.T, site string) {
	t.Helper()
	o.Await(t, "an answer to a new configuration", func() bool {
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

// Ask sends a request to the admin endpoint.
func (o *Operated) Ask(t *testing.T, method, path string) Response {
	t.Helper()
	return MustSend(t, NoRedirects, method, o.admin+path)
}

// Answer sends a request to the admin endpoint, which must answer with JSON, and decodes
// that into value.
func (o *Operated) Answer(t *testing.T, method, path string, value any) {
	t.Helper()
	resp := o.Ask(t, method, path)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, resp.Text)
	}
	if err := json.Unmarshal([]byte(resp.Text), value); err != nil {
		t.Fatalf("%s %s: %s", method, path, resp.Text)
	}
}

// MustRefuse sends the admin endpoint a request that it must refuse with a status and a
// message.
func (o *Operated) MustRefuse(t *testing.T, method, path string, status int, message string) {
	t.Helper()
	resp := o.Ask(t, method, path)
	var failed struct{ Error string }
	err := json.Unmarshal([]byte(resp.Text), &failed)
	if err != nil || resp.StatusCode != status || !strings.Contains(failed.Error, message) {
		t.Errorf("%s %s: %s %s", method, path, resp.Status, resp.Text)
	}
	if allowed := resp.Header["Allow"]; (status == http.StatusMethodNotAllowed) != (len(allowed) == 1 && !slices.Contains(allowed, method)) {
		t.Errorf("%s %s: Allow: %q", method, path, allowed)
	}
}

// Metrics returns the values of all series, by their names with labels.
func (o *Operated) Metrics(t *testing.T) map[string]float64 {
	t.Helper()
	resp := o.Ask(t, http.MethodGet, "/metrics")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %d %s", resp.StatusCode, resp.Text)
	}
	all := map[string]float64{}
	for line := range strings.Lines(resp.Text) {
		line = strings.TrimSpace(line)
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			value, err := strconv.ParseFloat(line[at+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			all[line[:at]] = value
		}
	}
	return all
}

// Access waits for the access log's line about a path, and returns it.
func (o *Operated) Access(t *testing.T, path string) (line string) {
	t.Helper()
	o.Await(t, "an access log line about "+path, func() bool {
		for l := range strings.Lines(o.Log.String()) {
			if strings.Contains(l, `"http.log.access`) && strings.Contains(l, `"uri":"`+path+`"`) {
				line = l
			}
		}
		return line != ""
	})
	return line
}
