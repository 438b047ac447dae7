package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// writeLayout writes an OCI layout of an image, tagged 1, whose layers have size bytes each of
// compressed noise. Layouts of different seeds have no layer in common.
func writeLayout(dir string, seed byte, layers int, size int64) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	noise := rand.NewChaCha8([32]byte{seed})
	config := v1.Image{Platform: v1.Platform{Architecture: "amd64", OS: "linux"}, RootFS: v1.RootFS{Type: "layers"}}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for range layers {
		layer, diffID, err := writeNoise(blobs, noise, size)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, layer)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	var err error
	if m.Config, err = writeJSON(blobs, v1.MediaTypeImageConfig, config); err != nil {
		return err
	}
	d, err := writeJSON(blobs, v1.MediaTypeImageManifest, m)
	if err != nil {
		return err
	}
	d.Annotations = map[string]string{v1.AnnotationRefName: "1"}
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{d}})
	return errors.Join(err,
		os.WriteFile(filepath.Join(dir, v1.ImageIndexFile), index, 0o644),
		os.WriteFile(filepath.Join(dir, v1.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}

// writeNoise writes a layer with a file of size bytes of noise.
func writeNoise(blobs string, noise io.Reader, size int64) (d v1.Descriptor, diffID digest.Digest, err error) {
	f, err := os.Create(filepath.Join(blobs, "layer"))
	if err != nil {
		return d, "", err
	}
	defer f.Close()
	compressed, plain := sha256.New(), sha256.New()
	z, err := gzip.NewWriterLevel(io.MultiWriter(f, compressed), gzip.BestSpeed)
	if err != nil {
		return d, "", err
	}
	w := tar.NewWriter(io.MultiWriter(z, plain))
	if err := w.WriteHeader(&tar.Header{Name: "noise", Mode: 0o644, Size: size}); err != nil {
		return d, "", err
	}
	if _, err := io.CopyN(w, noise, size); err != nil {
		return d, "", err
	}
	if err := errors.Join(w.Close(), z.Close(), f.Close()); err != nil {
		return d, "", err
	}
	d = v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, compressed), Size: fileSize(f.Name())}
	return d, digest.NewDigest(digest.SHA256, plain), os.Rename(f.Name(), filepath.Join(blobs, d.Digest.Encoded()))
}

func writeJSON(blobs, mediaType string, value any) (v1.Descriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("encoding a %s: %w", mediaType, err)
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return d, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), data, 0o644)
}
