// Package testimage makes images for tests and writes them as archives, in the forms that
// programs have used over the years. The same call always gives the same bytes.
package testimage

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image that archives are made of.
type Image struct {
	RepoTags []string
	Layers   [][]byte // tars
	Config   []byte
}

// New returns an image for linux/amd64.
func New(repoTags []string, layers ...[]byte) Image {
	config := v1.Image{Platform: v1.Platform{Architecture: "amd64", OS: "linux"}, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
	}
	return Image{repoTags, layers, Marshal(config)}
}

// Layer is a tar with one file, half of which is hard to compress.
func Layer(name string, size int) []byte {
	content := make([]byte, size)
	copy(content[size/2:], Random(name, size-size/2))
	return new(Tarball).File(name, content).Close()
}

// Random returns bytes that cannot be compressed, always the same for a seed.
func Random(seed string, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b) // which never fails
	return b
}

// GoldenLayer is a tar with every kind of entry that matters for cutting.
func GoldenLayer(seed int) []byte {
	w := new(Tarball)
	for i := range 500 {
		name := fmt.Sprintf("etc/%d/file-%d", seed, i)
		w.File(name, Compressible(name, i*37%5000))
	}
	w.File("usr/bin/app", Compressible("app", 3<<20))
	w.File(fmt.Sprintf("usr/lib/lib-%d.so", seed), Compressible(fmt.Sprint(seed), 100_000))
	return w.Symlink("usr/lib/lib.so", "lib-1.so").Close()
}

// Compressible returns bytes that compress about as well as programs do.
func Compressible(seed string, n int) []byte {
	b := Random(seed, n)
	for i := range b {
		b[i] &= 0x1f
	}
	return b
}
