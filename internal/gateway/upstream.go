package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// ParseUpstream parses the address of a gateway: an http or https URL, with the path
// above /ipfs/ if that is not the root. An address without a scheme gets the given one.
// Errors name the address, but no password in it.
func ParseUpstream(s, scheme string) (*url.URL, error) {
	if strings.HasPrefix(s, "unix/") || strings.HasPrefix(s, "unix:") {
		return nil, fmt.Errorf("%s: a gateway is reached by http or https, not by a Unix socket", s)
	}
	if !strings.Contains(s, "://") {
		s = scheme + "://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("not a URL: %w", errors.Unwrap(err))
	}
	if wrong := whatIsWrong(u); wrong != "" {
		return nil, fmt.Errorf("%s: %s", u.Redacted(), wrong)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func whatIsWrong(u *url.URL) string {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "a gateway has an http or https URL"
	case u.Hostname() == "":
		return "there is no host in it"
	case !isPort(u.Port()):
		return "there is no such port"
	case u.User != nil:
		return "credentials have no place in it, since it appears in logs"
	case u.RawQuery != "" || u.ForceQuery:
		return "a query has no place in it"
	case u.Fragment != "":
		return "a fragment has no place in it"
	case u.RawPath != "":
		return "an escaped path has no place in it"
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/ipfs"):
		return "leave out /ipfs: a gateway's URL ends before it"
	}
	return ""
}

// isPort reports whether s is a TCP port, or empty.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}
