package remote

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// An endpoint is how to reach a Docker daemon.
type endpoint struct {
	host     string // a URL
	setting  string // what names it: a variable, or a context
	certs    string // directory of certificates; empty where none are needed
	insecure bool   // the daemon need not prove who it is
}

// defaultDocker is where Docker's daemon listens if no setting says otherwise.
const defaultDocker = "unix:///var/run/docker.sock"

// findEndpoint returns the endpoint that docker would use: that of DOCKER_HOST, or else
// of the context that DOCKER_CONTEXT or docker's configuration names.
// https://docs.docker.com/engine/manage-resources/contexts/
func findEndpoint() (endpoint, error) {
	dir, dirErr := configDir()
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		e := endpoint{host: host, setting: "DOCKER_HOST"}
		if os.Getenv("DOCKER_TLS_VERIFY") == "" {
			return e, nil
		}
		if e.certs = os.Getenv("DOCKER_CERT_PATH"); e.certs == "" {
			e.certs = dir
		}
		if e.certs == "" {
			return e, fmt.Errorf("finding Docker's certificates: %w", dirErr)
		}
		return e, nil
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" && dirErr == nil {
		var err error
		if name, err = currentContext(dir); err != nil {
			return endpoint{}, err
		}
	}
	if name == "" || name == "default" {
		return endpoint{host: defaultDocker, setting: "DOCKER_HOST or a Docker context"}, nil
	}
	if dirErr != nil {
		return endpoint{}, fmt.Errorf("reading Docker context %q: %w", name, dirErr)
	}
	return readContext(dir, name)
}

// configDir returns the directory of docker's configuration.
func configDir() (string, error) {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".docker"), nil
}

// currentContext returns the context that `docker context use` has set. It is empty
// where none was.
func currentContext(dir string) (string, error) {
	var config struct{ CurrentContext string }
	err := readJSON(filepath.Join(dir, "config.json"), &config)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return config.CurrentContext, err
}

// readContext reads a context, which docker keeps by the sha256 of its name.
func readContext(dir, name string) (endpoint, error) {
	id := digest.FromString(name).Encoded()
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	err := readJSON(filepath.Join(dir, "contexts", "meta", id, "meta.json"), &meta)
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint{}, fmt.Errorf("there is no Docker context %q: `docker context ls` lists them", name)
	}
	if err != nil {
		return endpoint{}, fmt.Errorf("reading Docker context %q: %w", name, err)
	}
	docker := meta.Endpoints["docker"]
	if docker.Host == "" {
		return endpoint{}, fmt.Errorf("Docker context %q names no daemon", name)
	}
	e := endpoint{host: docker.Host, setting: fmt.Sprintf("Docker context %q", name), insecure: docker.SkipTLSVerify}
	certs := filepath.Join(dir, "contexts", "tls", id, "docker")
	if _, err := os.Stat(certs); err == nil {
		e.certs = certs
	}
	return e, nil
}

func readJSON(path string, value any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := manifest.ReadDocument(f)
	if err == nil {
		err = json.Unmarshal(data, value)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// tlsConfig returns the certificates of the endpoint. A context may have less than a
// client's certificate and an authority.
func (e endpoint) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: e.insecure}
	ca, err := os.ReadFile(filepath.Join(e.certs, "ca.pem"))
	switch {
	case err == nil:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("reading Docker's certificates: %s has none", filepath.Join(e.certs, "ca.pem"))
		}
	case !errors.Is(err, fs.ErrNotExist) || e.setting == "DOCKER_HOST":
		return nil, fmt.Errorf("reading Docker's certificates: %w", err)
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(e.certs, "cert.pem"), filepath.Join(e.certs, "key.pem"))
	switch {
	case err == nil:
		config.Certificates = []tls.Certificate{certificate}
	case !errors.Is(err, fs.ErrNotExist) || e.setting == "DOCKER_HOST":
		return nil, fmt.Errorf("reading Docker's certificates: %w", err)
	}
	return config, nil
}
