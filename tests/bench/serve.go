package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// serving measures a registry with images in its store.
func (b *bench) serving() error {
	archive := filepath.Join(b.work, "twice.tar")
	if err := b.twice(archive); err != nil {
		return err
	}
	defer os.Remove(archive)
	p, err := b.convertedInto(filepath.Join(b.work, "kept"), archive)
	if err != nil {
		return err
	}
	registry, err := b.dockerRegistry()
	if err != nil {
		return err
	}
	defer registry.stop()
	ours, err := b.caddy(ourAddress, "ipfs_registry {\n\tstore "+p.store+"\n}")
	if err != nil {
		return err
	}
	err = b.push(ours, p)
	if err == nil {
		err = errors.Join(b.stored(ours, registry, p), b.tags(ours, registry, p), b.wholeImage(ours, registry))
	}
	ours.stop()
	if err != nil {
		return err
	}
	return errors.Join(b.idle(p), b.manyImages(p))
}

// A kept is an image in a store.
type kept struct {
	store     string // the store's directory
	reference string // without the registry's host
	layer     string // the digest of the largest layer
	size      int64  // of that layer
}

// convertedInto converts an archive into a store.
func (b *bench) convertedInto(store, archive string) (kept, error) {
	p := kept{store: store}
	printed, err := exec.CommandContext(b.ctx, b.converter, "--quiet", "--input", archive, "--store", store).Output()
	if err != nil {
		return p, fmt.Errorf("converting into a store: %w", err)
	}
	_, p.reference, _ = strings.Cut(strings.TrimSpace(string(printed)), "/")
	blobs, err := filepath.Glob(filepath.Join(store, "blobs", "sha256", "*"))
	if err != nil {
		return p, err
	}
	for _, blob := range blobs {
		if n := fileSize(blob); n > p.size {
			p.size, p.layer = n, "sha256:"+filepath.Base(blob)
		}
	}
	return p, nil
}

// manifest returns the path of the image's manifest in a registry.
func (p kept) manifest() string {
	name, tag, tagged := strings.Cut(p.reference, ":")
	if !tagged {
		tag = "latest"
	}
	return "/v2/" + name + "/manifests/" + tag
}

// blob returns the path of the image's largest layer in a registry.
func (p kept) blob() string {
	name, _, _ := strings.Cut(p.reference, ":")
	return "/v2/" + name + "/blobs/" + p.layer
}

const dockerRegistryAddress = "127.0.0.1:15055"

// dockerRegistry starts Docker's registry, empty.
func (b *bench) dockerRegistry() (*server, error) {
	config, data := filepath.Join(b.work, "registry.yml"), b.dockerRegistryData()
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", data, dockerRegistryAddress)
	if err := errors.Join(os.RemoveAll(data), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, "docker-registry", "serve", config)
	stop, err := b.start("http://"+dockerRegistryAddress+"/v2/", cmd)
	if err != nil {
		return nil, err
	}
	return &server{"http://" + dockerRegistryAddress, stop, cmd.Process.Pid}, nil
}

func (b *bench) dockerRegistryData() string { return filepath.Join(b.work, "registry") }

// push copies an image from our registry to Docker's under the same name, so that both
// serve the same bytes at the same path.
func (b *bench) push(from *server, p kept) error {
	return b.command("bin/crane", "copy", "--insecure", host(from)+"/"+p.reference, dockerRegistryAddress+"/"+p.reference)
}

func host(s *server) string { return strings.TrimPrefix(s.url, "http://") }

// stored compares serving a layer from the store with nginx and with Docker's registry.
func (b *bench) stored(ours, registry *server, p kept) error {
	nginx, err := b.nginx(p)
	if err != nil {
		return err
	}
	defer nginx.stop()
	load := func(s *server, path string) func() ([]float64, error) {
		return func() ([]float64, error) { return s.load(path, p.size) }
	}
	return errors.Join(
		b.figures([]figure{
			{"blob from the store : nginx, 4 clients, throughput", "MB/s", 0.9, true},
		}, load(ours, p.blob()), load(nginx, "/"+strings.TrimPrefix(p.layer, "sha256:"))),
		b.figures([]figure{
			{"the same : docker-registry", "MB/s", 0.95, true},
			{"the same, processor time", "s for 100 MB", 1.1, false},
		}, load(ours, p.blob()), load(registry, p.blob())))
}

const nginxAddress = "127.0.0.1:15063"

// nginx starts an nginx that serves the store's blobs with sendfile.
func (b *bench) nginx(p kept) (*server, error) {
	dir := filepath.Join(b.work, "nginx")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off;
user root;
worker_processes auto;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	server {
		listen %[2]s;
		root %[3]s/blobs/sha256;
	}
}
`, dir, nginxAddress, p.store)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, "nginx", "-e", filepath.Join(dir, "error.log"), "-c", config, "-p", dir)
	stop, err := b.start("http://"+nginxAddress+"/", cmd)
	if err != nil {
		return nil, err
	}
	return &server{"http://" + nginxAddress, stop, cmd.Process.Pid}, nil
}

// tags compares requests for a manifest by tag with Docker's registry.
func (b *bench) tags(ours, registry *server, p kept) error {
	ask := func(s *server) func() ([]float64, error) {
		return func() ([]float64, error) { return b.wrk(s.url + p.manifest()) }
	}
	return b.figures([]figure{
		{"manifest by tag from the store : docker-registry", "a second", 5, true},
	}, ask(ours), ask(registry))
}
