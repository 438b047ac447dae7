package oddarchive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
	ociGzip     = ociLayer + "+gzip"
	ociZstd     = ociLayer + "+zstd"

	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerGzip     = "application/vnd.docker.image.rootfs.diff.tar.gzip"

	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// object is JSON whose keys are written in the order of their names.
type object map[string]any

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a fault of this package
	}
	return b
}

func hexOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digestOf(b []byte) string { return "sha256:" + hexOf(b) }

// An image is a config and the tars of its layers.
type image struct {
	config []byte
	layers [][]byte
}

// newImage returns an image of one layer, which prints its name when it is run.
func newImage(name string) image { return imageOf(name, layerOf(name)) }

// imageOf returns an image of the layers, for linux/amd64.
func imageOf(name string, layers ...[]byte) image { return imageFor(name, object{}, layers...) }

// imageFor returns an image with additional or other fields in its config.
func imageFor(name string, more object, layers ...[]byte) image {
	var diffIDs []string
	var history []object
	const created = "2026-01-02T03:04:05Z"
	for i, l := range layers {
		diffIDs = append(diffIDs, digestOf(l))
		history = append(history, object{"created": created, "created_by": fmt.Sprintf("layer %d", i)})
	}
	config := object{
		"architecture": "amd64", "os": "linux", "created": created,
		"config":  object{"Cmd": []string{"/hello"}, "Labels": object{"case": name}},
		"rootfs":  object{"type": "layers", "diff_ids": diffIDs},
		"history": history,
	}
	for k, v := range more {
		config[k] = v
	}
	return image{encode(config), layers}
}

// id returns the digest of the config.
func (i image) id() string { return digestOf(i.config) }

// layerOf returns the tar of a layer with a program that prints its name.
func layerOf(name string, more ...entry) []byte {
	program := header{name: "hello", mode: 0o755}.member(programOf(name))
	return append(program, tarOf(append([]entry{regular("case", []byte(name+"\n"))}, more...))...)
}

// programOf returns a static ELF program for linux/amd64 that prints a line.
func programOf(line string) []byte {
	text := line + "\n"
	code := []byte("\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00\x48\x8d\x35\x10\x00\x00\x00\xba") // write(1, text, length)
	code = binary.LittleEndian.AppendUint32(code, uint32(len(text)))
	code = append(code, "\x0f\x05\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"+text...) // exit(0)
	const base, headers = 0x400000, 64 + 56
	b := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	add16 := func(values ...uint16) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	add32 := func(values ...uint32) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	add64 := func(values ...uint64) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	size := uint64(headers + len(code))
	add16(2, 62)
	add32(1)
	add64(base+headers, 64, 0)
	add32(0)
	add16(64, 56, 1, 0, 0, 0)
	add32(1, 5)
	add64(0, base, base, size, size, 4096)
	return append(b, code...)
}

// docker returns the files of an archive as Docker 1.10 to 24 wrote it, and many
// builders do.
func (i image) docker(tags ...string) []entry {
	return i.dockerAs("%s/layer.tar", "%s.json", i.layers, tags)
}

// dockerAs is docker with other names for layers and config, in which %s stands for
// the sha256, and with the layers as they are stored.
func (i image) dockerAs(layerName, configName string, stored [][]byte, tags []string) []entry {
	config := strings.ReplaceAll(configName, "%s", hexOf(i.config))
	entries := []entry{regular(config, i.config)}
	var names []string
	for _, l := range stored {
		name := strings.ReplaceAll(layerName, "%s", hexOf(l))
		if !slices.Contains(names, name) {
			entries = append(entries, regular(name, l))
		}
		names = append(names, name)
	}
	return append(entries, regular("manifest.json", encode([]dockerEntry{{config, tags, names}})))
}

type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// replace returns the entries with the data of one of them replaced.
func replace(entries []entry, name string, data []byte) []entry {
	entries = slices.Clone(entries)
	for i, e := range entries {
		if e.name == name {
			entries[i].data = data
		}
	}
	return entries
}

// dataOf returns the data of an entry.
func dataOf(entries []entry, name string) []byte {
	for _, e := range entries {
		if e.name == name {
			return e.data
		}
	}
	panic("no entry " + name) // a fault of this package
}

// layerNameOf returns the name of the first layer.tar.
func layerNameOf(entries []entry) string {
	for _, e := range entries {
		if strings.HasSuffix(e.name, "layer.tar") {
			return e.name
		}
	}
	panic("no layer.tar") // a fault of this package
}
