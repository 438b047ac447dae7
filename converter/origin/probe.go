package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Service is what people mistake for a gateway.
type Service int

// The services that are told from gateways.
const (
	NodeAPI Service = iota + 1
	Registry
)

func (s Service) String() string {
	if s == NodeAPI {
		return "the RPC API of a Kubo node"
	}
	return "a container registry"
}

// A NotGatewayError is the error for a gateway's address at which there is another
// service.
type NotGatewayError struct {
	URL string
	Is  Service
}

func (e *NotGatewayError) Error() string {
	return fmt.Sprintf("%s is %s, and not a gateway", e.URL, e.Is)
}

const (
	probeTime  = 5 * time.Second
	probeBytes = 4 << 10
)

// probe asks an address that gives nothing as a gateway whether it is another service.
// It returns a NotGatewayError, or nil. The requests are for no content.
func probe(t http.RoundTripper, gateway *url.URL) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	ask := func(method, path string) (http.Header, []byte) {
		req, err := http.NewRequestWithContext(ctx, method, gateway.JoinPath(path).String(), nil)
		if err != nil {
			return nil, nil
		}
		resp, err := t.RoundTrip(req)
		if err != nil {
			return nil, nil
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, probeBytes))
		return resp.Header, body
	}
	var version struct{ Version, Commit, Golang string }
	if _, body := ask(http.MethodPost, "api/v0/version"); json.Unmarshal(body, &version) == nil && version.Golang != "" {
		return &NotGatewayError{gateway.String(), NodeAPI}
	}
	if header, _ := ask(http.MethodGet, "v2/"); strings.HasPrefix(header.Get("Docker-Distribution-Api-Version"), "registry/") {
		return &NotGatewayError{gateway.String(), Registry}
	}
	return nil
}
