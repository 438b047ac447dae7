package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const maxRedirects = 5

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow returns the target of a redirect. Gateways redirect from a path to
// <cid>.ipfs.<their host>, and from http to https. All other redirects are refused:
// a gateway must not direct this process's requests to other hosts, such as services
// that only this machine can reach.
func follow(base, at *url.URL, location string) (*url.URL, error) {
	to, err := at.Parse(location)
	if err != nil {
		return nil, errors.New("the redirect's Location is not a URL")
	}
	host := base.Hostname()
	upgraded := at.Scheme == "http" && to.Scheme == "https" && to.Port() == ""
	switch {
	case to.Hostname() != host && !strings.HasSuffix(to.Hostname(), "."+host),
		!upgraded && (to.Scheme != at.Scheme || to.Port() != at.Port()),
		to.User != nil:
		return nil, fmt.Errorf("redirects to another host, %s://%s: configure that one as the gateway", to.Scheme, to.Host)
	}
	return to, nil
}

// isLocalhost reports whether a host name means this machine by definition (RFC 6761).
// Kubo redirects to names below localhost, which few resolvers know, so such a request
// is sent to the configured address.
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
