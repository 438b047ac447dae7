package testimage

import (
	"archive/tar"
	"bytes"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
)

// Tarball writes a tar into memory, where nothing can fail.
type Tarball struct {
	bytes.Buffer
	W       *tar.Writer
	Written map[string][]byte // blobs
}

// File adds a file.
func (t *Tarball) File(name string, data []byte) *Tarball {
	return t.Entry(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}, data)
}

// Symlink adds a symbolic link.
func (t *Tarball) Symlink(name, target string) *Tarball {
	return t.Entry(&tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}, nil)
}

// Blob adds a blob of an OCI layout, once.
func (t *Tarball) Blob(data []byte) *Tarball {
	name := BlobName(data)
	if t.Written == nil {
		t.Written = map[string][]byte{}
	}
	if _, again := t.Written[name]; again {
		return t
	}
	t.Written[name] = data
	return t.File(name, data)
}

// Named writes a manifest and describes it once for each name.
func (t *Tarball) Named(mediaType string, manifest []byte, repoTags []string) []v1.Descriptor {
	t.Blob(manifest)
	if len(repoTags) == 0 {
		return []v1.Descriptor{Describe(mediaType, manifest)}
	}
	var descriptors []v1.Descriptor
	for _, name := range repoTags {
		d := Describe(mediaType, manifest)
		if !strings.Contains(name, "/") {
			name = "docker.io/library/" + name
		}
		d.Annotations = map[string]string{ocilayout.ContainerdName: name}
		descriptors = append(descriptors, d)
	}
	return descriptors
}

// Entry adds what the header says.
func (t *Tarball) Entry(h *tar.Header, data []byte) *Tarball {
	if t.W == nil {
		t.W = tar.NewWriter(&t.Buffer)
	}
	if err := t.W.WriteHeader(h); err != nil {
		panic(err)
	}
	if _, err := t.W.Write(data); err != nil {
		panic(err)
	}
	return t
}

// Close ends the tar and returns it.
func (t *Tarball) Close() []byte {
	if err := t.W.Close(); err != nil {
		panic(err)
	}
	return t.Bytes()
}
