package layouts

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A fixture is an image in the layout in which another program publishes it on IPFS.
type fixture struct {
	name    string
	publish func(t *testing.T, node *harness.Kubo, img harness.Image) published
	except  string // clients that cannot pull it, or whose ID for it is not the config's
}

// A published is an image on a node.
type published struct {
	path   string // a reference with a tag, without the registry's host
	config string // the digest of the image's config
	layer  string // the digest of its largest layer
}

var fixtures = []fixture{
	{"image2ipfs", publishImage2ipfs, ""},
	{"ipdr 0.1.6", publishOldIpdr, ""},
	{"ipdr 0.1.7", publishIpdr, ""},
	{"nerdctl", publishNerdctl, ""},
	{"nerdctl, index", publishNerdctlIndex, "ctr oras regctl"}, // their ID is the index's
	{"eStargz", publishStargz, ""},
	{"skopeo", publishSkopeo, ""},
	{"docker save", publishDockerSave, "crane"}, // it expects every layer to be compressed
	{"oci-registry-p2p", publishNamedLayout, ""},
	{"disco", publishDisco, ""},
	{"gantry", publishGantry, ""},
}

func publishedAs(b harness.ImageBlobs, path string) published {
	p := published{path: path, config: b.Config}
	for _, layer := range b.Layers {
		if len(b.Blobs[layer]) > len(b.Blobs[p.layer]) {
			p.layer = layer
		}
	}
	return p
}

type linkedIndex struct {
	SchemaVersion int                        `json:"schemaVersion"`
	MediaType     string                     `json:"mediaType"`
	Manifests     []harness.LinkedDescriptor `json:"manifests"`
}

const (
	ociManifestType = "application/vnd.oci.image.manifest.v1+json"
	ociIndexType    = "application/vnd.oci.image.index.v1+json"
	ociConfigType   = "application/vnd.oci.image.config.v1+json"
	ociLayerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

func marshal(t *testing.T, v any) string {
	t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// publishImage2ipfs publishes as image2ipfs 0.0.5 did. It wrote two manifests, one of
// them for Docker before 1.10, in the JSON that Python writes.
func publishImage2ipfs(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	dir := t.TempDir()
	for digest, blob := range b.Blobs {
		harness.WriteFile(t, filepath.Join(dir, harness.ImageName, "blobs", digest), blob)
	}
	content := marshal(t, b.DockerManifest(b.Describe))
	content = strings.NewReplacer(`":`, `": `, `,"`, `, "`, `,{`, `, {`).Replace(content)
	harness.WriteFile(t, filepath.Join(dir, harness.ImageName, "manifests", "latest-v2"), content)
	harness.WriteFile(t, filepath.Join(dir, harness.ImageName, "manifests", "latest-v1"), `{"schemaVersion": 1, "name": "`+harness.ImageName+`", "tag": "latest"}`)
	return publishedAs(b, harness.AddressOf(t, node.Repo, node.AddDir(t, dir))+"/"+harness.ImageName+":latest")
}

// publishOldIpdr publishes as ipdr 0.1.6 did: like image2ipfs, but the config is the
// only file of a directory.
func publishOldIpdr(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	dir := t.TempDir()
	for digest, blob := range b.Blobs {
		file := filepath.Join(dir, "blobs", digest)
		if digest == b.Config {
			file = filepath.Join(file, hexOf(digest)+".json")
		}
		harness.WriteFile(t, file, blob)
	}
	harness.WriteFile(t, filepath.Join(dir, "manifests", "latest-v2"), marshal(t, b.DockerManifest(b.Describe)))
	return publishedAs(b, harness.AddressOf(t, node.Repo, node.AddDir(t, dir))+":latest")
}

// publishIpdr publishes as ipdr 0.1.7 does, which stores the manifest under its digest
// as well.
func publishIpdr(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	dir := t.TempDir()
	for digest, blob := range b.Blobs {
		harness.WriteFile(t, filepath.Join(dir, "blobs", digest), blob)
	}
	content := marshal(t, b.DockerManifest(b.Describe))
	for _, name := range []string{"latest", "v1", harness.DigestOf([]byte(content))} {
		harness.WriteFile(t, filepath.Join(dir, "manifests", name), content)
	}
	return publishedAs(b, node.AddDir(t, dir, "--cid-version=1")+":v1")
}

// publishNerdctl publishes as nerdctl does. It adds each file by itself, and notes the
// CID in the file's descriptor. The image's address is that of a descriptor.
func publishNerdctl(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	return publishLinked(t, node, b, linkManifest(t, node, b, nil))
}

// publishNerdctlIndex publishes an index as nerdctl does: the address is that of the
// index's descriptor.
func publishNerdctlIndex(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	m := linkManifest(t, node, b, nil)
	m.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	index := linkedIndex{2, ociIndexType, []harness.LinkedDescriptor{m}}
	return publishLinked(t, node, b, linkFile(t, node, ociIndexType, marshal(t, index)))
}

func publishStargz(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b, annotations := stargzOf(t, img)
	return publishLinked(t, node, b, linkManifest(t, node, b, annotations))
}

func publishLinked(t *testing.T, node *harness.Kubo, b harness.ImageBlobs, top harness.LinkedDescriptor) published {
	t.Helper()
	return publishedAs(b, "ipfs/"+node.Add(t, marshal(t, top), "--cid-version=1")+":latest")
}

// linkManifest adds all blobs and their manifest, and returns the manifest's descriptor.
func linkManifest(t *testing.T, node *harness.Kubo, b harness.ImageBlobs, annotations map[string]map[string]string) harness.LinkedDescriptor {
	t.Helper()
	m := b.Manifest(ociManifestType, ociConfigType, ociLayerType, func(mediaType, digest string) harness.LinkedDescriptor {
		d := linkFile(t, node, mediaType, b.Blobs[digest])
		d.Annotations = annotations[digest]
		return d
	})
	return linkFile(t, node, ociManifestType, marshal(t, m))
}

// linkFile adds a file as nerdctl does, and returns its descriptor.
func linkFile(t *testing.T, node *harness.Kubo, mediaType, content string) harness.LinkedDescriptor {
	t.Helper()
	return harness.LinkedDescriptor{
		Descriptor: harness.Descriptor{MediaType: mediaType, Size: len(content), Digest: harness.DigestOf([]byte(content))},
		URLs:       []string{"ipfs://" + node.Add(t, content, "--cid-version=1")},
	}
}

// publishSkopeo publishes the OCI layout that skopeo writes, with two tags.
func publishSkopeo(t *testing.T, node *harness.Kubo, img harness.Image) published {
	harness.Need(t, "skopeo")
	dir := filepath.Join(t.TempDir(), "layout")
	for _, tag := range []string{"v1", "v2"} {
		harness.Run(t, exec.Command("skopeo", "copy", "docker-archive:"+img.Archive, "oci:"+dir+":"+tag))
	}
	return publishedLayout(t, dir, harness.AddressOf(t, node.Repo, node.AddDir(t, dir))+":v2")
}

// publishedLayout reads the first image of an OCI layout.
func publishedLayout(t *testing.T, dir, path string) published {
	t.Helper()
	blob := func(digest string) string {
		return harness.ReadFile(t, filepath.Join(dir, "blobs/sha256", hexOf(digest)))
	}
	var index linkedIndex
	var m harness.LinkedManifest
	if err := json.Unmarshal([]byte(harness.ReadFile(t, filepath.Join(dir, "index.json"))), &index); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(blob(index.Manifests[0].Digest)), &m); err != nil {
		t.Fatal(err)
	}
	b := harness.ImageBlobs{Config: m.Config.Digest, Blobs: map[string]string{}}
	for _, layer := range m.Layers {
		b.Layers = append(b.Layers, layer.Digest)
		b.Blobs[layer.Digest] = blob(layer.Digest)
	}
	return publishedAs(b, path)
}

// publishDockerSave publishes what a newer Docker saves: an OCI layout with uncompressed
// layers.
func publishDockerSave(t *testing.T, node *harness.Kubo, img harness.Image) published {
	d := harness.NewTrixieDocker(t, "classic")
	d.Run(t, "load", "--input="+img.Archive)
	dir := t.TempDir()
	harness.Run(t, exec.Command("tar", "-xf", d.Save(t, harness.ImageName+":v1"), "-C", dir))
	return publishedLayout(t, dir, harness.AddressOf(t, node.Repo, node.AddDir(t, dir))+":v1")
}

// publishNamedLayout publishes an OCI layout below a name, without a tag.
func publishNamedLayout(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	dir := t.TempDir()
	write := func(path, content string) { harness.WriteFile(t, filepath.Join(dir, harness.ImageName, path), content) }
	for digest, blob := range b.Blobs {
		write("blobs/sha256/"+hexOf(digest), blob)
	}
	m := marshal(t, b.Manifest(ociManifestType, ociConfigType, ociLayerType, b.Describe))
	digest := harness.DigestOf([]byte(m))
	write("blobs/sha256/"+hexOf(digest), m)
	index := linkedIndex{2, ociIndexType, []harness.LinkedDescriptor{{Descriptor: harness.Descriptor{MediaType: ociManifestType, Size: len(m), Digest: digest}}}}
	write("index.json", marshal(t, index))
	write("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	return publishedAs(b, "ipfs/"+node.AddDir(t, dir, "--cid-version=1")+"/"+harness.ImageName+":latest")
}

// publishDisco publishes as disco does: the files that Docker's registry keeps on disk,
// and a table of CIDs.
func publishDisco(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	dir := t.TempDir()
	content := marshal(t, b.DockerManifest(b.Describe))
	digest := harness.DigestOf([]byte(content))
	b.Blobs[digest] = content
	var table []string
	for digest, blob := range b.Blobs {
		table = append(table, fmt.Sprintf(`{"digest":%q,"cid":%q}`, hexOf(digest), node.Add(t, blob, "--cid-version=1")))
	}
	link := func(path string, digest string) { harness.WriteFile(t, filepath.Join(dir, path, "link"), digest) }
	link("_manifests/tags/latest/current", digest)
	link("_manifests/tags/latest/index/sha256/"+hexOf(digest), digest)
	link("_manifests/revisions/sha256/"+hexOf(digest), digest)
	for _, layer := range append(b.Layers, b.Config) {
		link("_layers/sha256/"+hexOf(layer), layer)
	}
	harness.WriteFile(t, filepath.Join(dir, "disco.json"), `{"blobs":[`+strings.Join(table, ",")+`]}`)
	return publishedAs(b, node.AddDir(t, dir, "--cid-version=1")+":latest")
}

// publishGantry publishes as gantry does. The address is that of a manifest, whose URLs
// are plain CIDs.
func publishGantry(t *testing.T, node *harness.Kubo, img harness.Image) published {
	b := harness.BlobsOf(t, img)
	m := b.DockerManifest(func(mediaType, digest string) harness.LinkedDescriptor {
		d := b.Describe(mediaType, digest)
		d.URLs = []string{node.Add(t, b.Blobs[digest])}
		return d
	})
	return publishedAs(b, harness.AddressOf(t, node.Repo, node.Add(t, marshal(t, m)))+":latest")
}
