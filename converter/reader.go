package converter

import (
	"bytes"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A reader makes images of what a source holds.
type reader struct {
	*source.Layout
	ws    *blob.Workspace
	want  want
	logf  func(string, ...any)
	nodes *manifest.Graph

	// written are the manifests and layers that took the place of others.
	written map[digest.Digest]*blob.Content

	// fixed are the manifests that others name by digest: those that an index names,
	// and subjects. They keep their bytes.
	fixed map[digest.Digest]bool

	configs map[*blob.Content]readConfig
	memory  int // bytes that the configs take
}

func newReader(l *source.Layout, ws *blob.Workspace, w want, logf func(string, ...any)) *reader {
	r := &reader{
		Layout: l, ws: ws, want: w, logf: logf,
		written: map[digest.Digest]*blob.Content{},
		fixed:   map[digest.Digest]bool{},
		configs: map[*blob.Content]readConfig{},
	}
	r.nodes = manifest.NewGraph(func(d v1.Descriptor) ([]byte, error) {
		c, err := r.blob(d)
		if err != nil {
			return nil, err
		}
		return c.Document()
	})
	return r
}

// blob returns the content of a descriptor: what was written for it, or what the
// source has.
func (r *reader) blob(d v1.Descriptor) (*blob.Content, error) {
	if c := r.written[d.Digest]; c != nil {
		return c, nil
	}
	return r.Blob(d)
}

// write adds a manifest or index.
func (r *reader) write(mediaType string, data []byte) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	c, err := r.ws.Read(ocilayout.BlobPath(d.Digest), d.Size, bytes.NewReader(data))
	r.written[d.Digest] = c
	return d, err
}

// A readConfig is what was read of a config. Many manifests may share one.
type readConfig struct {
	config *manifest.Config
	err    error
}

// config returns what the config of an image says. It returns nil for an artifact.
func (r *reader) config(n *manifest.Node) (*manifest.Config, error) {
	if n.Config == nil {
		return nil, nil
	}
	content, err := r.blob(*n.Config)
	if err != nil {
		return nil, fmt.Errorf("config of manifest %s: %w", n.Digest, err)
	}
	if content.Size > blob.MaxConfig && !manifest.IsConfig(n.Config.MediaType) {
		return nil, nil
	}
	c, err := r.readConfig(content)
	if err != nil {
		return nil, err
	}
	config, err := n.Judge(c.config, c.err)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", n.Digest, err)
	}
	return config, nil
}

// readConfig reads a config once. All configs together are bounded, since they are kept
// in memory.
func (r *reader) readConfig(content *blob.Content) (readConfig, error) {
	if c, known := r.configs[content]; known {
		return c, nil
	}
	data, err := content.Config()
	if err != nil {
		return readConfig{}, err
	}
	var c readConfig
	if c.config, c.err = manifest.ReadConfig(data); c.err == nil {
		r.memory += c.config.Memory()
	}
	if r.memory > manifest.MaxMemory {
		return readConfig{}, fmt.Errorf("the configs take more than %d bytes of memory", manifest.MaxMemory)
	}
	r.configs[content] = c
	return c, nil
}
