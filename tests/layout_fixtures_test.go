package tests

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A fixture is an image in the form in which another program puts it on IPFS.
type fixture struct {
	name    string
	publish func(t *testing.T, node *kubo, img image) published
	except  string // a program that cannot tell whether it got it
}

// A published image is on a node.
type published struct {
	path   string // what follows a registry's host in a reference, with a tag
	config string // the digest of the image's config
	layer  string // the digest of its largest layer
}

var fixtures = []fixture{
	{"image2ipfs", publishImage2ipfs, ""},
	{"ipdr 0.1.6", publishOldIpdr, ""},
	{"ipdr 0.1.7", publishIpdr, ""},
	{"nerdctl", publishNerdctl, ""},
	{"nerdctl, index", publishNerdctlIndex, "ctr oras regctl"}, // which keep the index
	{"eStargz", publishStargz, ""},
	{"skopeo", publishSkopeo, ""},
	{"docker save", publishDockerSave, "crane"}, // which takes all layers for compressed
	{"oci-registry-p2p", publishNamedLayout, ""},
	{"disco", publishDisco, ""},
	{"gantry", publishGantry, ""},
}

// imageBlobs are an image's config and layers, compressed, by their digests.
type imageBlobs struct {
	config string
	layers []string
	blobs  map[string]string
}

func blobsOf(t *testing.T, img image) imageBlobs {
	t.Helper()
	a := readArchive(t, img.archive)
	saved := a.saved(t)
	b := imageBlobs{blobs: map[string]string{}}
	add := func(content []byte) string {
		digest := digestOf(content)
		b.blobs[digest] = string(content)
		return digest
	}
	b.config = add(a.file(t, saved.Config))
	for _, layer := range saved.Layers {
		b.layers = append(b.layers, add(gzipped(t, a.file(t, layer))))
	}
	return b
}

func (b imageBlobs) published(path string) published {
	p := published{path: path, config: b.config}
	for _, layer := range b.layers {
		if len(b.blobs[layer]) > len(b.blobs[p.layer]) {
			p.layer = layer
		}
	}
	return p
}

// A linkedDescriptor is a descriptor with all that anybody here adds to one.
type linkedDescriptor struct {
	descriptor
	URLs        []string          `json:"urls,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

type linkedManifest struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Config        linkedDescriptor   `json:"config"`
	Layers        []linkedDescriptor `json:"layers"`
}

type linkedIndex struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Manifests     []linkedDescriptor `json:"manifests"`
}

const (
	ociManifestType = "application/vnd.oci.image.manifest.v1+json"
	ociIndexType    = "application/vnd.oci.image.index.v1+json"
	ociConfigType   = "application/vnd.oci.image.config.v1+json"
	ociLayerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// dockerManifest is Docker's manifest of them, with what describe adds.
func (b imageBlobs) dockerManifest(describe func(mediaType, digest string) linkedDescriptor) linkedManifest {
	return b.manifest(schema2, configType, gzippedTars, describe)
}

func (b imageBlobs) manifest(mediaType, config, layer string, describe func(mediaType, digest string) linkedDescriptor) linkedManifest {
	m := linkedManifest{SchemaVersion: 2, MediaType: mediaType, Config: describe(config, b.config)}
	for _, digest := range b.layers {
		m.Layers = append(m.Layers, describe(layer, digest))
	}
	return m
}

// describe describes a blob, and no more.
func (b imageBlobs) describe(mediaType, digest string) linkedDescriptor {
	return linkedDescriptor{descriptor: descriptor{mediaType, len(b.blobs[digest]), digest}}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// addDir is `ipfs add` of a folder, which gives the root.
func (k *kubo) addDir(t *testing.T, dir string, args ...string) (cid string) {
	t.Helper()
	return ipfs(t, k.repo, append([]string{"add", "--recursive", "--quieter"}, append(args, dir)...)...)
}

// add is `ipfs add` of one file.
func (k *kubo) add(t *testing.T, content string, args ...string) (cid string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, content)
	return ipfs(t, k.repo, append([]string{"add", "--quieter"}, append(args, file)...)...)
}

// image2ipfs 0.0.5 wrote two manifests, of which the older is for Docker before
// 1.10. Its JSON is Python's.
func publishImage2ipfs(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	dir := t.TempDir()
	for digest, blob := range b.blobs {
		writeFile(t, filepath.Join(dir, imageName, "blobs", digest), blob)
	}
	content := marshal(t, b.dockerManifest(b.describe))
	content = strings.NewReplacer(`":`, `": `, `,"`, `, "`, `,{`, `, {`).Replace(content)
	writeFile(t, filepath.Join(dir, imageName, "manifests", "latest-v2"), content)
	writeFile(t, filepath.Join(dir, imageName, "manifests", "latest-v1"), `{"schemaVersion": 1, "name": "`+imageName+`", "tag": "latest"}`)
	return b.published(ciq(t, node.repo, node.addDir(t, dir)) + "/" + imageName + ":latest")
}

// ipdr 0.1.6 kept what image2ipfs did, but for the config, which is the one file
// of a directory.
func publishOldIpdr(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	dir := t.TempDir()
	for digest, blob := range b.blobs {
		file := filepath.Join(dir, "blobs", digest)
		if digest == b.config {
			file = filepath.Join(file, hexOf(digest)+".json")
		}
		writeFile(t, file, blob)
	}
	writeFile(t, filepath.Join(dir, "manifests", "latest-v2"), marshal(t, b.dockerManifest(b.describe)))
	return b.published(ciq(t, node.repo, node.addDir(t, dir)) + ":latest")
}

// ipdr 0.1.7 has the manifest by its digest as well.
func publishIpdr(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	dir := t.TempDir()
	for digest, blob := range b.blobs {
		writeFile(t, filepath.Join(dir, "blobs", digest), blob)
	}
	content := marshal(t, b.dockerManifest(b.describe))
	for _, name := range []string{"latest", "v1", digestOf([]byte(content))} {
		writeFile(t, filepath.Join(dir, "manifests", name), content)
	}
	return b.published(node.addDir(t, dir, "--cid-version=1") + ":v1")
}

// nerdctl adds file after file, and says in each descriptor which CID that got.
// The image's address is that of a descriptor.
func publishNerdctl(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	return node.publishLinked(t, b, b.linkedManifest(t, node, nil))
}

// Where the image was an index, that is what the address leads to.
func publishNerdctlIndex(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	m := b.linkedManifest(t, node, nil)
	m.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	index := linkedIndex{2, ociIndexType, []linkedDescriptor{m}}
	return node.publishLinked(t, b, node.link(t, ociIndexType, marshal(t, index)))
}

func publishStargz(t *testing.T, node *kubo, img image) published {
	b, annotations := stargzOf(t, img)
	return node.publishLinked(t, b, b.linkedManifest(t, node, annotations))
}

func (k *kubo) publishLinked(t *testing.T, b imageBlobs, top linkedDescriptor) published {
	t.Helper()
	return b.published("ipfs/" + k.add(t, marshal(t, top), "--cid-version=1") + ":latest")
}

// linkedManifest adds all blobs, and their manifest.
func (b imageBlobs) linkedManifest(t *testing.T, node *kubo, annotations map[string]map[string]string) linkedDescriptor {
	t.Helper()
	m := b.manifest(ociManifestType, ociConfigType, ociLayerType, func(mediaType, digest string) linkedDescriptor {
		d := node.link(t, mediaType, b.blobs[digest])
		d.Annotations = annotations[digest]
		return d
	})
	return node.link(t, ociManifestType, marshal(t, m))
}

// link adds a file as nerdctl does, and describes it.
func (k *kubo) link(t *testing.T, mediaType, content string) linkedDescriptor {
	t.Helper()
	return linkedDescriptor{
		descriptor: descriptor{mediaType, len(content), digestOf([]byte(content))},
		URLs:       []string{"ipfs://" + k.add(t, content, "--cid-version=1")},
	}
}

// skopeo's own layout, two tags in it.
func publishSkopeo(t *testing.T, node *kubo, img image) published {
	needs(t, "skopeo")
	dir := filepath.Join(t.TempDir(), "layout")
	for _, tag := range []string{"v1", "v2"} {
		run(t, exec.Command("skopeo", "copy", "docker-archive:"+img.archive, "oci:"+dir+":"+tag))
	}
	return publishedLayout(t, dir, ciq(t, node.repo, node.addDir(t, dir))+":v2")
}

// publishedLayout reads what an OCI layout's first image is made of.
func publishedLayout(t *testing.T, dir, path string) published {
	t.Helper()
	blob := func(digest string) string { return readFile(t, filepath.Join(dir, "blobs/sha256", hexOf(digest))) }
	var index linkedIndex
	var m linkedManifest
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, "index.json"))), &index); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(blob(index.Manifests[0].Digest)), &m); err != nil {
		t.Fatal(err)
	}
	b := imageBlobs{config: m.Config.Digest, blobs: map[string]string{}}
	for _, layer := range m.Layers {
		b.layers = append(b.layers, layer.Digest)
		b.blobs[layer.Digest] = blob(layer.Digest)
	}
	return b.published(path)
}

// What a newer Docker saves is an OCI layout, with layers that are not compressed.
func publishDockerSave(t *testing.T, node *kubo, img image) published {
	d := newTrixieDocker(t, "classic")
	d.docker(t, "load", "--input="+img.archive)
	dir := t.TempDir()
	run(t, exec.Command("tar", "-xf", d.save(t, imageName+":v1"), "-C", dir))
	return publishedLayout(t, dir, ciq(t, node.repo, node.addDir(t, dir))+":v1")
}

// An OCI layout below a name, with no tag.
func publishNamedLayout(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	dir := t.TempDir()
	write := func(path, content string) { writeFile(t, filepath.Join(dir, imageName, path), content) }
	for digest, blob := range b.blobs {
		write("blobs/sha256/"+hexOf(digest), blob)
	}
	m := marshal(t, b.manifest(ociManifestType, ociConfigType, ociLayerType, b.describe))
	digest := digestOf([]byte(m))
	write("blobs/sha256/"+hexOf(digest), m)
	index := linkedIndex{2, ociIndexType, []linkedDescriptor{{descriptor: descriptor{ociManifestType, len(m), digest}}}}
	write("index.json", marshal(t, index))
	write("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	return b.published("ipfs/" + node.addDir(t, dir, "--cid-version=1") + "/" + imageName + ":latest")
}

// disco has a table of CIDs beside what Docker's registry keeps on disk.
func publishDisco(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	dir := t.TempDir()
	content := marshal(t, b.dockerManifest(b.describe))
	digest := digestOf([]byte(content))
	b.blobs[digest] = content
	var table []string
	for digest, blob := range b.blobs {
		table = append(table, fmt.Sprintf(`{"digest":%q,"cid":%q}`, hexOf(digest), node.add(t, blob, "--cid-version=1")))
	}
	link := func(path string, digest string) { writeFile(t, filepath.Join(dir, path, "link"), digest) }
	link("_manifests/tags/latest/current", digest)
	link("_manifests/tags/latest/index/sha256/"+hexOf(digest), digest)
	link("_manifests/revisions/sha256/"+hexOf(digest), digest)
	for _, layer := range append(b.layers, b.config) {
		link("_layers/sha256/"+hexOf(layer), layer)
	}
	writeFile(t, filepath.Join(dir, "disco.json"), `{"blobs":[`+strings.Join(table, ",")+`]}`)
	return b.published(node.addDir(t, dir, "--cid-version=1") + ":latest")
}

// gantry's address is that of a manifest, whose URLs are CIDs and no more.
func publishGantry(t *testing.T, node *kubo, img image) published {
	b := blobsOf(t, img)
	m := b.dockerManifest(func(mediaType, digest string) linkedDescriptor {
		d := b.describe(mediaType, digest)
		d.URLs = []string{node.add(t, b.blobs[digest])}
		return d
	})
	return b.published(ciq(t, node.repo, node.add(t, marshal(t, m))) + ":latest")
}
