package kubo

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for s, want := range map[string]string{
		"http://127.0.0.1:5001":              "http://127.0.0.1:5001",
		"127.0.0.1:5001":                     "http://127.0.0.1:5001",
		"https://node.example/":              "https://node.example",
		"http://127.0.0.1:5001/api/v0":       "http://127.0.0.1:5001",
		"https://user:secret@node.example":   "https://user:xxxxx@node.example",
		"/ip4/127.0.0.1/tcp/5001\n":          "http://127.0.0.1:5001",
		"/ip6/::1/tcp/5001":                  "http://[::1]:5001",
		"/dns4/node.example/tcp/443/https":   "https://node.example:443",
		"/dns/node.example/tcp/443/tls/http": "https://node.example:443",
		"/dns6/node.example/tcp/5001/http":   "http://node.example:5001",
		"/unix/run/ipfs/api.sock":            "unix//run/ipfs/api.sock",
		"unix//run/ipfs/api.sock":            "unix//run/ipfs/api.sock",
	} {
		n, err := NewNode(s, "")
		if err != nil || n.String() != want {
			t.Errorf("NewNode(%q) is %v, %v; want %s", s, n, err, want)
		}
	}
	for _, s := range []string{"", "ftp://host", "http://", "/ip4/127.0.0.1", "/ip4/127.0.0.1/udp/5001", "/ip4//tcp/5001", "/ip4/127.0.0.1/tcp/x", "/ip4/127.0.0.1/tcp/5001/p2p/Qm", "/etc/passwd", "unix/relative"} {
		if n, err := NewNode(s, ""); err == nil {
			t.Errorf("NewNode(%q) is %v, want an error", s, n)
		}
	}
	if _, err := NewNode("ftp://user:secret@host", ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
	for s, want := range map[string]bool{
		"http://x": true, "/ip4/127.0.0.1/tcp/5001": true, "/unix/run/x": true, "unix//run/x": true,
		"/ipfs": false, "/srv/ip4/store": false, "ip4/store": false, "store": false, "/dns": false,
	} {
		if IsAddress(s) != want {
			t.Errorf("IsAddress(%q) is %v", s, !want)
		}
	}
}

// A node behind a Unix socket is called as one behind a port is.
func TestNodeBehindUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	server.Listener = l
	server.Start()
	defer server.Close()
	n, err := NewNode("unix/"+socket, "token")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := n.Call(t.Context(), "version", nil, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if b, err := io.ReadAll(answer); err != nil || string(b) != "/api/v0/version Bearer token" {
		t.Errorf("it answers %q, %v", b, err)
	}
}
