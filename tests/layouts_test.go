package tests

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	schema2     = "application/vnd.docker.distribution.manifest.v2+json"
	configType  = "application/vnd.docker.container.image.v1+json"
	gzippedTars = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Whoever put an image on IPFS, every client pulls it, and gets the very same.
func TestLayouts(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := newKubo(t)
	caddy := newCaddy(t, "ipfs_registry "+node.gateway)
	for _, fixture := range fixtures {
		t.Run(fixture.name, func(t *testing.T) {
			t.Parallel()
			is := fixture.publish(t, node, img)
			for _, client := range clients {
				if strings.Contains(fixture.except, client.name) {
					continue
				}
				t.Run(client.name, func(t *testing.T) {
					t.Parallel()
					if got := client.pull(t, caddy.host()+"/"+is.path); got != is.config {
						t.Errorf("got the image %s, not %s", got, is.config)
					}
				})
			}
		})
	}
}

// Every layout is served in every way in which a Caddy can be set up, blobs too
// that nobody asked a manifest for before.
func TestLayoutsInEveryWay(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := newKubo(t)
	ways := map[string]string{
		"verified": "ipfs_registry " + node.gateway,
		"trusted":  "ipfs_registry " + node.gateway + " {\ntrust gateway\n}",
		"redirect": "ipfs_registry " + node.gateway + " {\nblobs redirect\n}",
		"lists":    "ipfs_registry " + node.gateway + " {\ndeny " + emptyList(t) + "\n}",
	}
	for _, fixture := range fixtures {
		t.Run(fixture.name, func(t *testing.T) {
			t.Parallel()
			is := fixture.publish(t, node, img)
			for way, directive := range ways {
				caddy := newCaddy(t, directive)
				repository := caddy.registry + "/v2/" + is.repository()
				for _, digest := range []string{is.config, is.layer} {
					resp := follow(t, repository+"/blobs/"+digest)
					if resp.StatusCode != http.StatusOK || digestOf([]byte(resp.body)) != digest {
						t.Errorf("%s: blob %s: %s, %d bytes", way, digest, resp.Status, len(resp.body))
					}
				}
				resp := get(t, repository+"/manifests/"+is.tag())
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("%s: %s: %s", way, resp.Status, resp.body)
				}
				digest := digestOf([]byte(resp.body))
				if again := get(t, repository+"/manifests/"+digest); again.body != resp.body || again.Header.Get("Docker-Content-Digest") != digest {
					t.Errorf("%s: by digest: %s", way, again.Status)
				}
				if resp := get(t, repository+"/manifests/no-such-tag"); resp.StatusCode != http.StatusNotFound || !strings.Contains(resp.body, "MANIFEST_UNKNOWN") {
					t.Errorf("%s: no such tag: %s: %s", way, resp.Status, resp.body)
				}
				nothing := digestOf([]byte("nothing"))
				if resp := follow(t, repository+"/blobs/"+nothing); resp.StatusCode != http.StatusNotFound {
					t.Errorf("%s: no such blob: %s: %s", way, resp.Status, resp.body)
				}
			}
		})
	}
}

func (p published) repository() string {
	repository, _, _ := strings.Cut(p.path, ":")
	return repository
}

func (p published) tag() string {
	_, tag, _ := strings.Cut(p.path, ":")
	return tag
}

func emptyList(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "list")
	writeFile(t, file, "# nothing\n")
	return file
}

// follow is get that follows redirects.
func follow(t *testing.T, url string) response {
	t.Helper()
	resp := get(t, url)
	if to := resp.Header.Get("Location"); to != "" {
		return get(t, to)
	}
	return resp
}

// What image2ipfs and ipdr put on a node can be copied into a store, and is
// served from there.
func TestLayoutsFromStore(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := newKubo(t)
	store := t.TempDir()
	caddy := newCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
	for _, fixture := range fixtures[:3] {
		is := fixture.publish(t, node, img)
		address, _, _ := strings.Cut(is.repository(), "/")
		copied(t, address, "--from", node.api, "--store", store)
		if got := pullBySkopeo(t, caddy.host()+"/"+is.path); got != is.config {
			t.Errorf("%s: got the image %s, not %s", fixture.name, got, is.config)
		}
	}
}

// What image2ipfs 0.1.0 broke is refused before anything is pulled, with what is
// wrong and what to do, and what the converter makes of it is served.
func TestImage2ipfsIsRefused(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := newKubo(t)
	caddy := newCaddy(t, "ipfs_registry "+node.gateway)
	address := ciq(t, node.repo, node.addDir(t, image2ipfs(t, img)))
	ref := caddy.host() + "/" + address + "/" + imageName
	resp := get(t, repository(ref)+"/manifests/latest")
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(resp.body, "MANIFEST_INVALID") {
		t.Errorf("%s: %s", resp.Status, resp.body)
	}
	d := newDocker(t)
	_, stderr, err := try(d.command("pull", ref))
	if err == nil || !strings.Contains(stderr, "converter repair "+address+"/"+imageName) {
		t.Errorf("docker pull: %v: %s", err, stderr)
	}
	again := runForLine(t, converter(t, "/dev/null", "repair", address+"/"+imageName, "--from="+node.api, "--ipfs-api="+node.api, "--registry="+caddy.registry))
	img.mustBe(t, pullByDocker(t, again))
}

// A stargz layer is read as whoever pulls lazily does: the footer, the table that
// it leads to, and some files, more than one at a time. Each is the same wherever
// it comes from.
func TestStargzRanges(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := newKubo(t)
	is := publishStargz(t, node, img)
	for way, directive := range map[string]string{
		"verified": "ipfs_registry " + node.gateway,
		"trusted":  "ipfs_registry " + node.gateway + " {\ntrust gateway\n}",
	} {
		caddy := newCaddy(t, directive)
		url := caddy.registry + "/v2/" + is.repository() + "/blobs/" + is.layer
		layer := get(t, url).body
		footer := rangeOf(t, url, fmt.Sprintf("-%d", stargzFooter))
		if !strings.HasSuffix(layer, footer) || len(footer) != stargzFooter {
			t.Fatalf("%s: the footer is %q", way, footer)
		}
		header, err := gzip.NewReader(strings.NewReader(footer))
		if err != nil {
			t.Fatal(err)
		}
		begin, err := strconv.ParseInt(string(header.Extra[4:20]), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		toc, err := gzip.NewReader(strings.NewReader(rangeOf(t, url, fmt.Sprintf("%d-%d", begin, len(layer)-stargzFooter-1))))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(toc)
		if err != nil || !bytes.Contains(content, []byte(landmark)) {
			t.Errorf("%s: the table of contents is %q, %v", way, content, err)
		}
		mustGiveParts(t, url, layer, [][2]int{{0, 99}, {1 << 20, 1<<20 + 5}, {len(layer) - stargzFooter, len(layer) - 1}})
	}
}

func rangeOf(t *testing.T, url, part string) string {
	t.Helper()
	resp := getRange(t, url, part)
	if resp.StatusCode != http.StatusPartialContent {
		t.Fatalf("bytes=%s: %s", part, resp.Status)
	}
	return resp.body
}

func getRange(t *testing.T, url, part string) response {
	t.Helper()
	return mustSend(t, direct, http.MethodGet, url, "Range", "bytes="+part)
}

// mustGiveParts asks for several parts, from the first byte to the last one, at
// once.
func mustGiveParts(t *testing.T, url, whole string, parts [][2]int) {
	t.Helper()
	var ranges []string
	for _, p := range parts {
		ranges = append(ranges, fmt.Sprintf("%d-%d", p[0], p[1]))
	}
	resp := getRange(t, url, strings.Join(ranges, ","))
	mediaType, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/byteranges" || resp.StatusCode != http.StatusPartialContent {
		t.Fatalf("%v: %s, %v", ranges, resp.Status, resp.Header)
	}
	r := multipart.NewReader(strings.NewReader(resp.body), params["boundary"])
	for i, p := range parts {
		part, err := r.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		want := fmt.Sprintf("bytes %s/%d", ranges[i], len(whole))
		if err != nil || string(content) != whole[p[0]:p[1]+1] || part.Header.Get("Content-Range") != want {
			t.Errorf("%s: %d bytes as %q, %v", ranges[i], len(content), part.Header.Get("Content-Range"), err)
		}
	}
	if _, err := r.NextPart(); err != io.EOF {
		t.Errorf("after all parts: %v", err)
	}
}

// A blob is denied by its own CID in every layout, also where no path leads to it
// from the image's address, and so is a manifest.
func TestDeniedInEveryLayout(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := newKubo(t)
	for _, fixture := range fixtures {
		t.Run(fixture.name, func(t *testing.T) {
			t.Parallel()
			is := fixture.publish(t, node, img)
			open := newCaddy(t, "ipfs_registry "+node.gateway+" {\nblobs redirect\n}")
			resp := get(t, open.registry+"/v2/"+is.repository()+"/blobs/"+is.layer)
			_, path, ok := strings.Cut(resp.Header.Get("Location"), "/ipfs/")
			if !ok {
				t.Fatalf("%s: %v", resp.Status, resp.Header)
			}
			list := filepath.Join(t.TempDir(), "deny")
			writeFile(t, list, "/ipfs/"+ipfs(t, node.repo, "resolve", "/ipfs/"+path)[len("/ipfs/"):]+"\n")
			for _, options := range []string{"", "trust gateway\n", "blobs redirect\n"} {
				caddy := newCaddy(t, "ipfs_registry "+node.gateway+" {\ndeny "+list+"\n"+options+"}")
				repository := caddy.registry + "/v2/" + is.repository()
				for digest, want := range map[string]int{is.layer: http.StatusGone, is.config: http.StatusOK} {
					if resp := follow(t, repository+"/blobs/"+digest); resp.StatusCode != want {
						t.Errorf("%q: blob: %s, not %d", options, resp.Status, want)
					}
				}
				if resp := get(t, repository+"/manifests/"+is.tag()); resp.StatusCode != http.StatusOK {
					t.Errorf("%q: manifest: %s", options, resp.Status)
				}
			}
		})
	}
}

// schema2Of is the image's manifest as image2ipfs and ipdr made it, and its blobs
// by their digests.
func schema2Of(t *testing.T, img image) (m linkedManifest, blobs map[string]string) {
	t.Helper()
	b := blobsOf(t, img)
	return b.dockerManifest(b.describe), b.blobs
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
