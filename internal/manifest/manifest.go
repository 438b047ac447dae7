// Package manifest reads manifests, indexes, configs and descriptors, in OCI's words
// and in Docker's. Everything that follows a manifest to what it names, to convert an
// image, export it, inspect it or verify it, uses this package, so that all of them
// find the same.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Node is a manifest or index and what it names. The digests of all that it names
// are valid.
type Node struct {
	layout.Manifest

	// Of a manifest. Config is nil only in manifests of type layout.OCIArtifact,
	// which have none. In those, Layers are the artifact's blobs.
	Config *v1.Descriptor
	Layers []v1.Descriptor

	// Manifests are what an index names. Some may be blobs: IsManifest tells.
	Manifests []v1.Descriptor

	// Subject is the manifest that this one refers to, if it is a referrer.
	Subject      *v1.Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// Parse reads what a manifest or index names. The media type decides what the
// document is: layers in an index are not read, nor manifests in a manifest.
func Parse(m layout.Manifest) (*Node, error) {
	n, err := parse(m)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	return n, nil
}

func parse(m layout.Manifest) (*Node, error) {
	var fields struct {
		Config       *v1.Descriptor    `json:"config"`
		Layers       descriptors       `json:"layers"`
		Blobs        descriptors       `json:"blobs"`
		Manifests    descriptors       `json:"manifests"`
		Subject      *v1.Descriptor    `json:"subject"`
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		return nil, err
	}
	n := &Node{Manifest: m, Subject: fields.Subject, ArtifactType: fields.ArtifactType, Annotations: fields.Annotations}
	if n.Subject != nil {
		if err := checkDigest(*n.Subject); err != nil {
			return nil, fmt.Errorf("its subject: %w", err)
		}
	}
	if n.IsIndex() {
		n.Manifests = fields.Manifests
		return n, nil
	}
	n.Layers = slices.Concat(fields.Layers, fields.Blobs)
	if m.MediaType == layout.OCIArtifact {
		return n, nil
	}
	if fields.Config == nil {
		return nil, errors.New("it names no config")
	}
	n.Config = fields.Config
	if err := checkDigest(*n.Config); err != nil {
		return nil, fmt.Errorf("its config: %w", err)
	}
	return n, nil
}

// IsIndex reports whether the node is an index.
func (n *Node) IsIndex() bool { return IsIndex(n.Manifest) }

// Blobs returns the blobs that a manifest names: its layers, and its config last.
func (n *Node) Blobs() []v1.Descriptor {
	if n.Config == nil {
		return n.Layers
	}
	return append(slices.Clone(n.Layers), *n.Config)
}

// A Config is what the config of an image says.
type Config struct {
	v1.Platform

	// DiffIDs are the digests of the layers uncompressed. It is nil where the config
	// has none.
	DiffIDs []digest.Digest

	hasRootFS bool
}

// ParseConfig reads the config of a manifest and so tells what the manifest is.
// It returns nil, and no error, for an artifact.
//
// A manifest is an image if its config has rootfs.diff_ids, whatever the media types of
// config and layers are. An image without layers may leave the list out. A manifest with
// layers and an empty list is an artifact, whose layers can be anything.
func (n *Node) ParseConfig(data []byte) (*Config, error) {
	if n.Config == nil {
		return nil, nil
	}
	return n.Judge(ReadConfig(data))
}

// WithoutDiffIDs returns a config that takes little memory, and for which Judge gives the
// same result. It returns nil for nil.
func (c *Config) WithoutDiffIDs() *Config {
	if c == nil || len(c.DiffIDs) < 2 {
		return c
	}
	small := *c
	small.DiffIDs = slices.Clone(c.DiffIDs[:1])
	return &small
}

// Judge is ParseConfig for a config that was read before: many manifests may share one.
func (n *Node) Judge(c *Config, err error) (*Config, error) {
	isImageType := n.Config != nil && IsConfig(n.Config.MediaType)
	switch {
	case n.Config == nil:
		return nil, nil
	case err != nil && isImageType:
		return nil, fmt.Errorf("config %s: %w", n.Config.Digest, err)
	case err != nil:
		return nil, nil
	case len(c.DiffIDs) > 0, len(n.Layers) == 0 && (c.DiffIDs != nil || isImageType && c.hasRootFS):
		return c, nil
	}
	return nil, nil
}

// Checked reports whether layer i of an image has to be, uncompressed, what the
// config says. A layer of another media type than those of images, such as an
// encrypted one, cannot be checked.
func (n *Node) Checked(i int) bool { return IsLayer(n.Layers[i].MediaType) }

// ReadConfig reads a config. It fails for a document that is not that of an image.
func ReadConfig(data []byte) (*Config, error) {
	var fields struct {
		v1.Platform
		RootFS *struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("it is not the config of an image: %w", err)
	}
	c := &Config{Platform: fields.Platform, hasRootFS: fields.RootFS != nil}
	if fields.RootFS == nil {
		return c, nil
	}
	for _, d := range fields.RootFS.DiffIDs {
		if _, err := layout.ParseDigest(d.String()); err != nil {
			return nil, fmt.Errorf("its diff_ids: %w", err)
		}
	}
	c.DiffIDs = fields.RootFS.DiffIDs
	return c, nil
}

// descriptors are read one by one, so that an invalid one is refused before a
// million of them are in memory.
type descriptors []v1.Descriptor

// UnmarshalJSON implements json.Unmarshaler.
func (l *descriptors) UnmarshalJSON(data []byte) error {
	*l = nil
	decoder := json.NewDecoder(bytes.NewReader(data))
	switch token, err := decoder.Token(); {
	case err != nil:
		return err
	case token == nil:
		return nil
	case token != json.Delim('['):
		return fmt.Errorf("%v where a list of descriptors belongs", token)
	}
	for decoder.More() {
		var d v1.Descriptor
		if err := decoder.Decode(&d); err != nil {
			return err
		}
		if err := checkDigest(d); err != nil {
			return err
		}
		*l = append(*l, d)
	}
	return nil
}

func checkDigest(d v1.Descriptor) error {
	_, err := layout.ParseDigest(d.Digest.String())
	return err
}

// ReadDocument reads a manifest, or another document, to its end. It fails where
// the document has more than layout.MaxManifest bytes.
func ReadDocument(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, layout.MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > layout.MaxManifest {
		return nil, fmt.Errorf("longer than %d bytes", layout.MaxManifest)
	}
	return b, nil
}

// Encode writes a document as JSON, and escapes only what JSON requires.
func Encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
