package kubo

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// An address is where an RPC API is: a URL, or a Unix socket.
type address struct {
	url    *url.URL // of requests
	socket string   // path; empty for TCP
}

func (a address) String() string {
	if a.socket != "" {
		return "unix/" + a.socket
	}
	return a.url.Redacted()
}

// IsAddress reports whether s is written like the address of an RPC API, and not like
// a file: as a URL, a multiaddr, or a Unix socket.
func IsAddress(s string) bool {
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "unix/") {
		return true
	}
	protocol, _, found := strings.Cut(strings.TrimPrefix(s, "/"), "/")
	return found && strings.HasPrefix(s, "/") && (protocol == "unix" || isHost(protocol))
}

// parseAddress reads an http or https URL, host:port, a multiaddr as Kubo writes it to
// its file api, or a Unix socket, as a multiaddr or as unix//path. Errors do not show
// a password.
func parseAddress(s string) (address, error) {
	s = strings.TrimSpace(s)
	if path, ok := strings.CutPrefix(s, "unix/"); ok {
		return atSocket(path)
	}
	if path, ok := strings.CutPrefix(s, "/unix/"); ok {
		return atSocket("/" + path)
	}
	if strings.HasPrefix(s, "/") {
		return parseMultiaddr(s)
	}
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return address{}, unknownAddress(s)
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v0") // as Kubo prints it
	return address{url: u}, nil
}

func unknownAddress(s string) error {
	if before, after, found := strings.Cut(s, "@"); found && strings.Contains(before, "://") {
		s = "…@" + after
	}
	return fmt.Errorf("%q is not the address of an IPFS RPC API: http://127.0.0.1:5001, /ip4/127.0.0.1/tcp/5001 and unix//run/ipfs.sock are", s)
}

func atSocket(path string) (address, error) {
	if !strings.HasPrefix(path, "/") {
		return address{}, fmt.Errorf("the path of a Unix socket begins with a slash: unix//%s", path)
	}
	return address{&url.URL{Scheme: "http", Host: "localhost"}, path}, nil
}

func isHost(protocol string) bool {
	switch protocol {
	case "ip4", "ip6", "dns", "dns4", "dns6":
		return true
	}
	return false
}

// parseMultiaddr reads /HOST PROTOCOL/HOST/tcp/PORT, and /http, /https or /tls/http
// after it.
// https://github.com/multiformats/multiaddr
func parseMultiaddr(s string) (address, error) {
	parts := strings.Split(s, "/")[1:]
	if len(parts) < 4 || !isHost(parts[0]) || parts[1] == "" || parts[2] != "tcp" {
		return address{}, unknownAddress(s)
	}
	u := &url.URL{Scheme: "http", Host: net.JoinHostPort(parts[1], parts[3])}
	switch strings.Join(parts[4:], "/") {
	case "", "http":
	case "https", "tls", "tls/http":
		u.Scheme = "https"
	default:
		return address{}, unknownAddress(s)
	}
	if _, err := url.Parse(u.String()); err != nil { // a port that is not a number
		return address{}, unknownAddress(s)
	}
	return address{url: u}, nil
}
