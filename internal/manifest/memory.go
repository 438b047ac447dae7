package manifest

import (
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxMemory is how many bytes of memory the manifests and configs of one root or source
// may take together, as Memory counts them.
const MaxMemory = 128 << 20

// Bytes of memory that an element takes besides its strings.
const (
	nodeMemory       = 512
	descriptorMemory = 160
	annotationMemory = 96
	platformMemory   = 128
	urlMemory        = 16
)

// Memory estimates how many bytes of memory the node takes. That can be many times the
// size of the document: an element of a list of URLs may be three bytes long there.
func (n *Node) Memory() int {
	total := nodeMemory + len(n.Data) + annotationsMemory(n.Annotations)
	for _, list := range [][]v1.Descriptor{n.Layers, n.Manifests} {
		for _, d := range list {
			total += memoryOf(d)
		}
	}
	for _, d := range []*v1.Descriptor{n.Config, n.Subject} {
		if d != nil {
			total += memoryOf(*d)
		}
	}
	return total
}

func memoryOf(d v1.Descriptor) int {
	total := descriptorMemory + len(d.MediaType) + len(d.Digest) + len(d.ArtifactType) + len(d.Data) + annotationsMemory(d.Annotations)
	for _, u := range d.URLs {
		total += urlMemory + len(u)
	}
	if d.Platform != nil {
		total += platformMemory
		for _, f := range d.Platform.OSFeatures {
			total += urlMemory + len(f)
		}
	}
	return total
}

func annotationsMemory(annotations map[string]string) int {
	total := 0
	for key, value := range annotations {
		total += annotationMemory + len(key) + len(value)
	}
	return total
}

// Memory returns about how many bytes of memory the config takes.
func (c *Config) Memory() int {
	total := nodeMemory
	for _, d := range c.DiffIDs {
		total += urlMemory + len(d)
	}
	return total
}
