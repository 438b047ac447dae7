package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
)

// defaultDocker is where Docker's daemon listens if nobody says otherwise.
const defaultDocker = "unix:///var/run/docker.sock"

// A Docker is a Docker daemon, by its Engine API.
// https://docs.docker.com/reference/api/engine/
type Docker struct {
	host      string // as DOCKER_HOST has it
	base      url.URL
	transport *http.Transport
}

// FindDocker returns the daemon that DOCKER_HOST names, as it does for docker
// itself.
func FindDocker() (*Docker, error) {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = defaultDocker
	}
	u, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("DOCKER_HOST: %w", err)
	}
	d := &Docker{host: host, base: url.URL{Scheme: "http", Host: u.Host}, transport: &http.Transport{DisableKeepAlives: true}}
	switch u.Scheme {
	case "unix":
		d.base.Host = "docker" // which is not looked at, and must be there
		d.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", u.Path)
		}
		return d, nil
	case "tcp":
		return d, d.secure()
	case "ssh":
		return nil, fmt.Errorf("DOCKER_HOST is %s, and ssh is not spoken here: run `docker save IMAGE | converter` instead", host)
	}
	return nil, fmt.Errorf("DOCKER_HOST is %q: unix:///var/run/docker.sock and tcp://127.0.0.1:2375 are understood", host)
}

// secure has the daemon and its client show certificates, as docker does where
// DOCKER_TLS_VERIFY is set.
func (d *Docker) secure() error {
	if os.Getenv("DOCKER_TLS_VERIFY") == "" {
		return nil
	}
	dir := os.Getenv("DOCKER_CERT_PATH")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("finding Docker's certificates: %w", err)
		}
		dir = filepath.Join(home, ".docker")
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return fmt.Errorf("reading Docker's certificates: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return fmt.Errorf("reading Docker's certificates: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s has no certificate", filepath.Join(dir, "ca.pem"))
	}
	d.base.Scheme = "https"
	d.transport.TLSClientConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: authorities}
	return nil
}

// Save asks for an image's archive, as `docker save` does. Docker may take its
// time before the first byte, in which it writes all of it to its own disk.
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
		return nil, fmt.Errorf("asking Docker at %s, which DOCKER_HOST can change: %w", d.host, err)
	}
	resp.Body = w.Body(resp.Body)
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, fmt.Errorf("asking Docker for %q: %w", name, dockerError(resp))
	}
	return resp.Body, nil
}

// dockerError reads what the daemon says went wrong.
func dockerError(resp *http.Response) error {
	const most = 64 << 10
	var answer struct{ Message string }
	if json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(&answer) != nil || answer.Message == "" {
		return errors.New(strings.ToLower(resp.Status))
	}
	return errors.New(answer.Message)
}
