package lies

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A picture is a small image on an IPFS node, made without Docker, with the content that
// a registry must serve of it.
type picture struct {
	name string // of its shape
	cid  string // of its root
	key  string // the IPNS key in requests, or "" if they have the root

	manifest, config, layer string // the digests
	content                 map[string]string
}

// shapes are the ways in which the image of the lies is cut into blocks.
var shapes = []struct {
	name string
	add  []string // arguments of `ipfs add`, or nil for the converter's own
}{
	{"aligned", nil},
	{"1 MiB leaves", []string{"--cid-version=1", "--chunker=size-1048576"}},
	{"old leaves below nodes", []string{"--chunker=size-65536", "--max-file-links=16"}},
}

// newPictures adds one image in each shape to the node.
func newPictures(t *testing.T, k *harness.Kubo) []*picture {
	t.Helper()
	archive := pictureArchive(t, 1)
	aligned := convertPicture(t, k, archive)
	dir := filepath.Join(t.TempDir(), "image")
	harness.IPFS(t, k.Repo, "get", "--output="+dir, "/ipfs/"+aligned.cid)
	var all []*picture
	for _, shape := range shapes {
		im := *aligned
		im.name = shape.name
		if shape.add != nil {
			im.cid = addDir(t, k, dir, shape.add...)
		}
		all = append(all, &im)
	}
	return all
}

// byKey publishes the image under an IPNS key of the node, under which it published
// another image before. It returns the image and the older record.
func (im *picture) byKey(t *testing.T, k *harness.Kubo, before *picture) (named *picture, older string) {
	t.Helper()
	copied := *im
	named = &copied
	named.name = "by an IPNS key"
	named.key = k.NewKey(t, im.cid, "ed25519")
	k.Publish(t, im.cid, "/ipfs/"+before.cid)
	older = harness.Get(t, k.Gateway+recordOf(named.key)).Text
	k.Publish(t, im.cid, "/ipfs/"+im.cid)
	return named, older
}

// addDir adds a directory to the node and returns its root, as CIDv1.
func addDir(t *testing.T, k *harness.Kubo, dir string, args ...string) string {
	t.Helper()
	args = append([]string{"add", "--recursive", "--quieter"}, args...)
	return harness.IPFS(t, k.Repo, "cid", "base32", harness.IPFS(t, k.Repo, append(args, dir)...))
}

// convertPicture converts an archive onto the node.
func convertPicture(t *testing.T, k *harness.Kubo, archive string) *picture {
	t.Helper()
	ref := harness.Convert(t, archive, "--ipfs-api="+k.API)
	im := &picture{cid: harness.CIDv1(t, harness.RootOf(t, ref)), content: map[string]string{}}
	read := func(path string) string {
		content := harness.Get(t, k.Gateway+"/ipfs/"+im.cid+"/"+harness.ImageName+path).Text
		digest := harness.DigestOf([]byte(content))
		im.content[digest] = content
		return digest
	}
	im.manifest = read("/manifests/v1")
	var m harness.Manifest
	if err := json.Unmarshal([]byte(im.content[im.manifest]), &m); err != nil || len(m.Layers) != 1 {
		t.Fatalf("%v\n%s", err, im.content[im.manifest])
	}
	im.config = read("/blobs/" + m.Config.Digest)
	im.layer = read("/blobs/" + m.Layers[0].Digest)
	if im.config != m.Config.Digest || im.layer != m.Layers[0].Digest {
		t.Fatalf("the content of %s differs from its manifest:\n%s", im.cid, im.content[im.manifest])
	}
	return im
}

// pictureArchive writes an archive as docker save does. The layer has a few files that do
// not compress, more than 1 MiB in all.
func pictureArchive(t *testing.T, seed byte) (file string) {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for i, size := range []int{3000, 700_000, 500, 400_000, 250_001} {
		content := make([]byte, size)
		rand.NewChaCha8([32]byte{seed, byte(i)}).Read(content)
		w.WriteHeader(&tar.Header{Name: fmt.Sprintf("srv/%d", i), Mode: 0o644, Size: int64(size)})
		w.Write(content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, harness.DigestOf(layer.Bytes()))
	list, err := json.Marshal([]harness.SavedImage{{Config: "config.json", RepoTags: []string{harness.ImageName + ":v1"}, Layers: []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	var a harness.Archive
	for name, content := range map[string][]byte{"config.json": []byte(config), "layer.tar": layer.Bytes(), "manifest.json": list} {
		a = append(a, harness.Entry{Header: tar.Header{Name: name, Mode: 0o644}, Content: content})
	}
	return a.Write(t)
}

// An operation is a request to a registry, with the right answer.
type operation struct {
	name         string
	method, path string
	part         string // the Range header

	status       int
	header       http.Header
	body         string
	sizeIfNoBody int
}

// absent is a digest that no content has.
const absent = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func (im *picture) operations() []operation {
	manifest, layer := im.content[im.manifest], im.content[im.layer]
	blob := "/blobs/" + im.layer
	part := func(from, to int) http.Header {
		return http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(layer))}}
	}
	from, to, end := 1_000_000, 1_200_000, len(layer)
	ofManifest := http.Header{"Docker-Content-Digest": {im.manifest}, "Content-Type": {harness.DockerManifestType}}
	ofLayer := http.Header{"Docker-Content-Digest": {im.layer}}
	return []operation{
		{"tag", "GET", "/manifests/v1", "", 200, ofManifest, manifest, 0},
		{"digest", "GET", "/manifests/" + im.manifest, "", 200, ofManifest, manifest, 0},
		{"head of a manifest", "HEAD", "/manifests/v1", "", 200, ofManifest, "", len(manifest)},
		{"blob", "GET", blob, "", 200, ofLayer, layer, 0},
		{"range", "GET", blob, fmt.Sprintf("bytes=%d-%d", from, to-1), 206, part(from, to), layer[from:to], 0},
		{"suffix", "GET", blob, "bytes=-1000", 206, part(end-1000, end), layer[end-1000:], 0},
		{"head of a blob", "HEAD", blob, "", 200, ofLayer, "", len(layer)},
		{"no such tag", "GET", "/manifests/v2", "", 404, nil, "", 0},
		{"no such blob", "GET", "/blobs/" + absent, "", 404, nil, "", 0},
	}
}

// path returns the path of the image in a registry.
func (im *picture) path() string {
	if im.key != "" {
		return "/v2/ipns/" + im.key + "/" + harness.ImageName
	}
	return "/v2/" + im.cid + "/" + harness.ImageName
}

// isAbout reports whether the lie is to be told about the image. About an image by a key,
// only lies about the record are: the others are told about the same image by its root.
func (l lie) isAbout(im *picture) bool { return im.key == "" || l.form == asRecord && !l.every }

// A verdict is the outcome of an operation.
type verdict int

const (
	right verdict = iota
	refused
	wrong
)

// try sends the request to a registry. The error says what is not right about the answer.
func (op operation) try(c *http.Client, host, url string) (verdict, error) {
	req, err := http.NewRequest(op.method, url+op.path, nil)
	if err != nil {
		return wrong, err
	}
	req.Host = host
	if op.part != "" {
		req.Header.Set("Range", op.part)
	}
	resp, err := c.Do(req)
	if err != nil {
		return refused, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	return op.judge(resp, body.String(), err)
}

func (op operation) judge(resp *http.Response, body string, err error) (verdict, error) {
	if resp.StatusCode >= 500 && resp.StatusCode != op.status {
		return refused, fmt.Errorf("%s\n%s", resp.Status, body)
	}
	if resp.StatusCode != op.status {
		return wrong, fmt.Errorf("%s, want %d\n%.200s", resp.Status, op.status, body)
	}
	if op.status == http.StatusNotFound {
		return right, nil
	}
	for name := range op.header {
		if got, want := resp.Header.Get(name), op.header.Get(name); got != want {
			return wrong, fmt.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if n, err := strconv.Atoi(resp.Header.Get("Content-Length")); err != nil || n != max(op.sizeIfNoBody, len(op.body)) {
		return wrong, fmt.Errorf("Content-Length: %s", resp.Header.Get("Content-Length"))
	}
	switch {
	case err != nil && strings.HasPrefix(op.body, body):
		return refused, err
	case body != op.body:
		return wrong, fmt.Errorf("%d bytes, some of them wrong, want %d: %v", len(body), len(op.body), err)
	}
	return right, nil
}

// newTrustlessKubo starts a node with the given roots of another node. Its gateway is
// trustless-only, as most public gateways are.
func newTrustlessKubo(t *testing.T, like *harness.Kubo, roots ...string) *harness.Kubo {
	t.Helper()
	repo := harness.NewRepo(t)
	harness.IPFS(t, repo, "config", "--json", "Gateway.DeserializedResponses", "false")
	for _, root := range roots {
		car := filepath.Join(t.TempDir(), "image.car")
		harness.WriteFile(t, car, harness.Run(t, harness.IPFSCommand(like.Repo, "dag", "export", "--progress=false", root)))
		harness.IPFS(t, repo, "dag", "import", car)
		os.Remove(car)
	}
	return harness.StartKubo(t, repo)
}
