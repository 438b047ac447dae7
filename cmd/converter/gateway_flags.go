package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// gatewayFlags are the gateways on the command line, each with the headers that
// follow it there. A header is sent to no other gateway.
type gatewayFlags struct {
	urls    []string
	headers []gatewayHeader
}

type gatewayHeader struct {
	gateway int    // index in urls; -1 before the first one
	text    string // with placeholders
}

func (f *gatewayFlags) register(fs *pflag.FlagSet) {
	fs.Var(flagFunc{"URL", func(url string) { f.urls = append(f.urls, url) }}, "gateway",
		"read from the IPFS gateway at this `URL` or Unix socket, unix//path, which need not be trusted; may be repeated")
	fs.Var(flagFunc{"header", func(text string) { f.headers = append(f.headers, gatewayHeader{len(f.urls) - 1, text}) }}, "gateway-header",
		"send this `header`, \"Name: value\", to the --gateway before it and to no other; {env.NAME} and {file.PATH} in it are replaced")
}

// flagFunc is the value of a flag that may be repeated. Setting it never fails,
// since the error would quote the value, which may be a secret.
type flagFunc struct {
	kind string
	add  func(string)
}

func (f flagFunc) Type() string   { return f.kind }
func (f flagFunc) String() string { return "" }

func (f flagFunc) Set(s string) error {
	f.add(s)
	return nil
}

// parse returns the gateways with their headers. Errors name a header, and do not
// quote its value.
func (f *gatewayFlags) parse() ([]origin.Gateway, error) {
	gateways := make([]origin.Gateway, len(f.urls))
	for i, url := range f.urls {
		if url == "" {
			return nil, errors.New("--gateway has no value")
		}
		gateways[i] = origin.Gateway{URL: url, Header: http.Header{}}
	}
	for _, h := range f.headers {
		if h.gateway < 0 {
			return nil, errors.New("--gateway-header belongs to the --gateway before it, and there is none")
		}
		name, value, err := parseHeader(h.text)
		if err != nil {
			return nil, fmt.Errorf("--gateway-header: %w", err)
		}
		gateways[h.gateway].Header.Add(name, value)
	}
	return gateways, nil
}

// headerName is a token of RFC 9110, section 5.6.2.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// ownHeaders are set by the client itself, and decide what a gateway sends.
var ownHeaders = []string{"Host", "Accept", "Accept-Encoding", "Range", "Connection", "Content-Length", "Transfer-Encoding"}

func parseHeader(text string) (name, value string, err error) {
	name, value, found := strings.Cut(text, ":")
	if !found || !headerName.MatchString(name) {
		return "", "", errors.New(`a header is written "Name: value"`)
	}
	name = http.CanonicalHeaderKey(name)
	if slices.Contains(ownHeaders, name) {
		return "", "", fmt.Errorf("%s is set by converter itself", name)
	}
	if value, err = expandSecret(strings.TrimSpace(value)); err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", "", fmt.Errorf("the value of %s has control characters", name)
	}
	return name, value, nil
}
