package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
)

// A Docker is a Docker daemon, by its Engine API.
// https://docs.docker.com/reference/api/engine/
type Docker struct {
	endpoint
	base      url.URL
	transport *http.Transport
}

// ErrSSH is the error for a Docker daemon that is reached by ssh.
var ErrSSH = errors.New("Docker over ssh is not supported")

// FindDocker returns the daemon that docker itself would use.
func FindDocker() (*Docker, error) {
	e, err := findEndpoint()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(e.host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.setting, err)
	}
	d := &Docker{endpoint: e, base: url.URL{Scheme: "http", Host: u.Host}, transport: &http.Transport{DisableKeepAlives: true}}
	switch u.Scheme {
	case "unix":
		d.base.Host = "docker" // not used, and required in a URL
		d.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", u.Path)
		}
		return d, nil
	case "tcp":
		if e.certs == "" && !e.insecure {
			return d, nil
		}
		d.base.Scheme = "https"
		d.transport.TLSClientConfig, err = e.tlsConfig()
		return d, err
	case "ssh":
		return nil, fmt.Errorf("%s is %s: %w", e.setting, e.host, ErrSSH)
	}
	return nil, fmt.Errorf("%s is %q: use a URL like unix:///var/run/docker.sock or tcp://127.0.0.1:2375", e.setting, e.host)
}

// Save asks for an image's archive, as `docker save` does. Docker writes all of it to
// its own disk before it sends the first byte, so only silence after that ends the
// request.
func (d *Docker) Save(ctx context.Context, name string, patience time.Duration) (io.ReadCloser, error) {
	u := d.base
	u.Path = "/images/get"
	u.RawQuery = url.Values{"names": {name}}.Encode()
	w := ctxio.NewWait(ctx, patience, fmt.Errorf("the daemon at %s: %w", d.host, ErrSilent))
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		w.Cancel()
		return nil, err
	}
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		w.Cancel()
		return nil, fmt.Errorf("Docker at %s does not answer; is it running? %s can name another: %w", d.host, d.setting, err)
	}
	resp.Body = w.Body(resp.Body)
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, fmt.Errorf("asking Docker for %q: %w", name, dockerError(resp))
	}
	return resp.Body, nil
}

// dockerError reads the daemon's error message.
func dockerError(resp *http.Response) error {
	const most = 64 << 10
	var answer struct{ Message string }
	if json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(&answer) != nil || answer.Message == "" {
		return errors.New(strings.ToLower(resp.Status))
	}
	return errors.New(answer.Message)
}
