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

// follow returns where a redirect leads. Gateways send whoever asks by path to
// <cid>.ipfs.<their host>, and from http to https. Everything else is refused:
// a gateway must not make us send requests to whomever it likes, such as to
// services that only this machine can reach.
func follow(base, at *url.URL, location string) (*url.URL, error) {
	to, err := at.Parse(location)
	if err != nil {
		return nil, errors.New("redirects to something that is not a URL")
	}
	host := base.Hostname()
	upgraded := at.Scheme == "http" && to.Scheme == "https" && to.Port() == ""
	switch {
	case to.Hostname() != host && !strings.HasSuffix(to.Hostname(), "."+host),
		!upgraded && (to.Scheme != at.Scheme || to.Port() != at.Port()),
		to.User != nil:
		return nil, fmt.Errorf("redirects to %s://%s, which is not below it: name that as the gateway", to.Scheme, to.Host)
	}
	return to, nil
}

// isLocalhost reports whether the name is this machine's by definition
// (RFC 6761). Few resolvers know names below localhost, to which Kubo redirects,
// so such a request is sent to the address that was configured.
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
