package testimage

import (
	"fmt"
	"path"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
)

// OldDocker is the archive that Docker wrote before 25: a repeated layer is a
// link to its first occurrence, and the list of images stands last.
func OldDocker(images ...Image) []byte {
	t := new(Tarball)
	var list []ocilayout.DockerEntry
	for n, img := range images {
		entry := ocilayout.DockerEntry{Config: HexOf(img.Config) + ".json", RepoTags: img.RepoTags}
		first := map[string]string{}
		for i, l := range img.Layers {
			id := fmt.Sprintf("%064d", n*100+i)
			name := path.Join(id, "layer.tar")
			t.File(path.Join(id, "VERSION"), []byte("1.0")).File(path.Join(id, "json"), []byte(`{"id":"`+id+`"}`))
			if before, again := first[HexOf(l)]; again {
				t.Symlink(name, path.Join("..", before))
			} else {
				first[HexOf(l)] = name
				t.File(name, l)
			}
			entry.Layers = append(entry.Layers, name)
		}
		t.File(entry.Config, img.Config)
		list = append(list, entry)
	}
	return t.File(ocilayout.DockerList, Marshal(list)).File("repositories", []byte("{}")).Close()
}

// NewDocker is the archive that Docker 25 and later write from the classic
// store: an OCI layout of plain tars with the old list beside it.
func NewDocker(images ...Image) []byte {
	t := new(Tarball)
	var list []ocilayout.DockerEntry
	var index v1.Index
	for _, img := range images {
		t.Blob(img.Config)
		entry := ocilayout.DockerEntry{Config: BlobName(img.Config), RepoTags: img.RepoTags}
		manifest := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: Describe(v1.MediaTypeImageConfig, img.Config)}
		manifest.SchemaVersion = 2
		for _, l := range img.Layers {
			t.Blob(l)
			entry.Layers = append(entry.Layers, BlobName(l))
			manifest.Layers = append(manifest.Layers, Describe(v1.MediaTypeImageLayer, l))
		}
		list = append(list, entry)
		index.Manifests = append(index.Manifests, t.Named(v1.MediaTypeImageManifest, Marshal(manifest), img.RepoTags)...)
	}
	t.File(ocilayout.Index, Marshal(index)).File(ocilayout.DockerList, Marshal(list))
	return t.File("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)).Close()
}

// ContainerdDocker is the archive that Docker writes from the containerd image store: the
// index as it was pushed, and the platforms of it that were pulled.
func ContainerdDocker(img Image) (archive, index []byte) {
	t := new(Tarball)
	t.Blob(img.Config)
	manifest := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: Describe(v1.MediaTypeImageConfig, img.Config)}
	manifest.SchemaVersion = 2
	for _, l := range img.Layers {
		z := Gzipped(l)
		t.Blob(z)
		manifest.Layers = append(manifest.Layers, Describe(v1.MediaTypeImageLayerGzip, z))
	}
	m := Marshal(manifest)
	t.Blob(m)
	here := Describe(v1.MediaTypeImageManifest, m)
	here.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	elsewhere := Describe(v1.MediaTypeImageManifest, []byte("of another platform"))
	elsewhere.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}
	list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{here, elsewhere}}
	list.SchemaVersion = 2
	index = Marshal(list)
	top := v1.Index{Manifests: t.Named(v1.MediaTypeImageIndex, index, img.RepoTags)}
	return t.File(ocilayout.Index, Marshal(top)).Close(), index
}
