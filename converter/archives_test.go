package converter

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// testImage is an image of which archives are written, as programs write them.
type testImage struct {
	repoTags []string
	layers   [][]byte // tars
	config   []byte
}

func newTestImage(repoTags []string, layers ...[]byte) testImage {
	config := v1.Image{Platform: v1.Platform{Architecture: "amd64", OS: "linux"}, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
	}
	return testImage{repoTags, layers, marshal(config)}
}

func layerTar(name string, size int) []byte {
	content := make([]byte, size)
	copy(content[size/2:], random(name, size-size/2))
	return new(tarball).file(name, content).close()
}

func random(seed string, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b)
	return b
}

// oldDocker is the archive that Docker wrote before 25: a repeated layer is a
// link to its first occurrence, and the list of images stands last.
func oldDocker(images ...testImage) []byte {
	t := new(tarball)
	var list []dockerEntry
	for n, img := range images {
		entry := dockerEntry{Config: hexOf(img.config) + ".json", RepoTags: img.repoTags}
		first := map[string]string{}
		for i, l := range img.layers {
			id := fmt.Sprintf("%064d", n*100+i)
			name := path.Join(id, "layer.tar")
			t.file(path.Join(id, "VERSION"), []byte("1.0")).file(path.Join(id, "json"), []byte(`{"id":"`+id+`"}`))
			if before, again := first[hexOf(l)]; again {
				t.symlink(name, path.Join("..", before))
			} else {
				first[hexOf(l)] = name
				t.file(name, l)
			}
			entry.Layers = append(entry.Layers, name)
		}
		t.file(entry.Config, img.config)
		list = append(list, entry)
	}
	return t.file(dockerManifests, marshal(list)).file("repositories", []byte("{}")).close()
}

// newDocker is the archive that Docker 25 and later write from the classic
// store: an OCI layout of plain tars with the old list beside it.
func newDocker(images ...testImage) []byte {
	t := new(tarball)
	var list []dockerEntry
	var index v1.Index
	for _, img := range images {
		t.blob(img.config)
		entry := dockerEntry{Config: blobName(img.config), RepoTags: img.repoTags}
		manifest := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: describe(v1.MediaTypeImageConfig, img.config)}
		manifest.SchemaVersion = 2
		for _, l := range img.layers {
			t.blob(l)
			entry.Layers = append(entry.Layers, blobName(l))
			manifest.Layers = append(manifest.Layers, describe(v1.MediaTypeImageLayer, l))
		}
		list = append(list, entry)
		index.Manifests = append(index.Manifests, t.named(v1.MediaTypeImageManifest, marshal(manifest), img.repoTags)...)
	}
	t.file(ociIndex, marshal(index)).file(dockerManifests, marshal(list))
	return t.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)).close()
}

// containerdDocker is the archive that Docker writes from the containerd image
// store: the index as it was pushed, and of its platforms those that are there.
func containerdDocker(img testImage) (archive, index []byte) {
	t := new(tarball)
	t.blob(img.config)
	manifest := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: describe(v1.MediaTypeImageConfig, img.config)}
	manifest.SchemaVersion = 2
	for _, l := range img.layers {
		z := gzipped(l)
		t.blob(z)
		manifest.Layers = append(manifest.Layers, describe(v1.MediaTypeImageLayerGzip, z))
	}
	m := marshal(manifest)
	t.blob(m)
	here := describe(v1.MediaTypeImageManifest, m)
	here.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	elsewhere := describe(v1.MediaTypeImageManifest, []byte("of another platform"))
	elsewhere.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}
	list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{here, elsewhere}}
	list.SchemaVersion = 2
	index = marshal(list)
	top := v1.Index{Manifests: t.named(v1.MediaTypeImageIndex, index, img.repoTags)}
	return t.file(ociIndex, marshal(top)).close(), index
}

// named writes a manifest and describes it once for each name.
func (t *tarball) named(mediaType string, manifest []byte, repoTags []string) []v1.Descriptor {
	t.blob(manifest)
	if len(repoTags) == 0 {
		return []v1.Descriptor{describe(mediaType, manifest)}
	}
	var descriptors []v1.Descriptor
	for _, name := range repoTags {
		d := describe(mediaType, manifest)
		if !strings.Contains(name, "/") {
			name = "docker.io/library/" + name
		}
		d.Annotations = map[string]string{containerdName: name}
		descriptors = append(descriptors, d)
	}
	return descriptors
}

// imageManifest is the manifest of a config and layers, gzipped or plain.
func imageManifest(config []byte, mediaType string, layers ...[]byte) v1.Manifest {
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: describe(mediaType, config), Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	for _, l := range layers {
		layerType := v1.MediaTypeImageLayer
		if bytes.HasPrefix(l, gzipMagic) {
			layerType = v1.MediaTypeImageLayerGzip
		}
		m.Layers = append(m.Layers, describe(layerType, l))
	}
	return m
}

func describe(mediaType string, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

func blobName(data []byte) string { return "blobs/sha256/" + hexOf(data) }

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// tarball writes a tar into memory, where nothing can fail.
type tarball struct {
	bytes.Buffer
	w       *tar.Writer
	written map[string][]byte // blobs
}

func (t *tarball) file(name string, data []byte) *tarball {
	return t.entry(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}, data)
}

func (t *tarball) symlink(name, target string) *tarball {
	return t.entry(&tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}, nil)
}

func (t *tarball) blob(data []byte) *tarball {
	name := blobName(data)
	if t.written == nil {
		t.written = map[string][]byte{}
	}
	if _, again := t.written[name]; again {
		return t
	}
	t.written[name] = data
	return t.file(name, data)
}

func (t *tarball) entry(h *tar.Header, data []byte) *tarball {
	if t.w == nil {
		t.w = tar.NewWriter(&t.Buffer)
	}
	if err := t.w.WriteHeader(h); err != nil {
		panic(err)
	}
	if _, err := t.w.Write(data); err != nil {
		panic(err)
	}
	return t
}

func (t *tarball) close() []byte {
	if err := t.w.Close(); err != nil {
		panic(err)
	}
	return t.Bytes()
}

// shuffled returns the archive with its entries in another order.
func shuffled(t *testing.T, archive []byte, seed uint64) []byte {
	t.Helper()
	type entry struct {
		header *tar.Header
		data   []byte
	}
	var entries []entry
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{h, data})
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(entries), func(i, j int) {
		entries[i], entries[j] = entries[j], entries[i]
	})
	out := new(tarball)
	for _, e := range entries {
		out.entry(e.header, e.data)
	}
	return out.close()
}

// carRoot returns the one root of a CAR that has no blocks.
func carRoot(car []byte) string {
	const address = 36 // bytes of a CIDv1 with sha2-256
	_, after, found := bytes.Cut(car, []byte{0xd8, 0x2a, 0x58, address + 1, 0})
	if !found {
		return ""
	}
	c, err := cid.Cast(after[:address])
	if err != nil {
		return ""
	}
	return c.String()
}
