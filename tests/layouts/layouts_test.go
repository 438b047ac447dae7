package layouts

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Every client pulls the whole image in every layout.
func TestEveryClientPullsEveryLayout(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	caddy := harness.NewCaddy(t, "ipfs_registry "+node.Gateway)
	for _, fixture := range fixtures {
		t.Run(fixture.name, func(t *testing.T) {
			harness.Parallel(t)
			is := fixture.publish(t, node, img)
			for _, client := range harness.Clients {
				if strings.Contains(fixture.except, client.Name) {
					continue
				}
				t.Run(client.Name, func(t *testing.T) {
					harness.Parallel(t)
					if got := client.Pull(t, caddy.Host()+"/"+is.path); got != is.config {
						t.Errorf("got the image %s, want %s", got, is.config)
					}
				})
			}
		})
	}
}

// Every layout is served in every configuration, also blobs that are requested before
// their manifest.
func TestEveryLayoutIsServedInEveryConfiguration(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	ways := map[string]string{
		"verified": "ipfs_registry " + node.Gateway,
		"redirect": "ipfs_registry " + node.Gateway + " {\nblobs redirect\n}",
		"lists":    "ipfs_registry " + node.Gateway + " {\ndeny " + emptyList(t) + "\n}",
	}
	for _, fixture := range fixtures {
		t.Run(fixture.name, func(t *testing.T) {
			harness.Parallel(t)
			is := fixture.publish(t, node, img)
			for way, directive := range ways {
				caddy := harness.NewCaddy(t, directive)
				repository := caddy.URL + "/v2/" + is.repository()
				for _, digest := range []string{is.config, is.layer} {
					resp := follow(t, repository+"/blobs/"+digest)
					if resp.StatusCode != http.StatusOK || harness.DigestOf([]byte(resp.Text)) != digest {
						t.Errorf("%s: blob %s: %s, %d bytes", way, digest, resp.Status, len(resp.Text))
					}
				}
				resp := harness.Get(t, repository+"/manifests/"+is.tag())
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("%s: %s: %s", way, resp.Status, resp.Text)
				}
				digest := harness.DigestOf([]byte(resp.Text))
				if again := harness.Get(t, repository+"/manifests/"+digest); again.Text != resp.Text || again.Header.Get("Docker-Content-Digest") != digest {
					t.Errorf("%s: by digest: %s", way, again.Status)
				}
				if resp := harness.Get(t, repository+"/manifests/no-such-tag"); resp.StatusCode != http.StatusNotFound || !strings.Contains(resp.Text, "MANIFEST_UNKNOWN") {
					t.Errorf("%s: a missing tag is answered with %s: %s", way, resp.Status, resp.Text)
				}
				nothing := harness.DigestOf([]byte("nothing"))
				if resp := follow(t, repository+"/blobs/"+nothing); resp.StatusCode != http.StatusNotFound {
					t.Errorf("%s: a missing blob is answered with %s: %s", way, resp.Status, resp.Text)
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
	harness.WriteFile(t, file, "# nothing\n")
	return file
}

// follow fetches a URL, or the one that it redirects to.
func follow(t *testing.T, url string) harness.Response {
	t.Helper()
	resp := harness.Get(t, url)
	if to := resp.Header.Get("Location"); to != "" {
		return harness.Get(t, to)
	}
	return resp
}

// An image that image2ipfs or ipdr published can be copied into a store, and is served
// from there.
func TestCopiedLayoutIsServedFromStore(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
	for _, fixture := range fixtures[:3] {
		is := fixture.publish(t, node, img)
		address, _, _ := strings.Cut(is.repository(), "/")
		harness.Copy(t, address, "--from", node.API, "--store", store)
		if got := harness.PullBySkopeo(t, caddy.Host()+"/"+is.path); got != is.config {
			t.Errorf("%s: got the image %s, want %s", fixture.name, got, is.config)
		}
	}
}

// An image that image2ipfs 0.1.0 published with wrong digests is refused before anything
// is pulled, and the error has the command that repairs it. The repaired image is
// served.
func TestBrokenImage2ipfsImageIsRefusedWithRepairCommand(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	caddy := harness.NewCaddy(t, "ipfs_registry "+node.Gateway)
	address := harness.AddressOf(t, node.Repo, node.AddDir(t, harness.WriteImage2ipfs(t, img)))
	ref := caddy.Host() + "/" + address + "/" + harness.ImageName
	resp := harness.Get(t, harness.Repository(ref)+"/manifests/latest")
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(resp.Text, "MANIFEST_INVALID") {
		t.Errorf("the broken image is answered with %s: %s", resp.Status, resp.Text)
	}
	d := harness.NewDocker(t)
	_, stderr, err := harness.Try(d.Command("pull", ref))
	if err == nil || !strings.Contains(stderr, "converter repair "+address+"/"+harness.ImageName) {
		t.Errorf("docker pull does not print the command: %v: %s", err, stderr)
	}
	again := harness.RunForLine(t, harness.Converter(t, "/dev/null", "repair", address+"/"+harness.ImageName, "--from="+node.API, "--ipfs-api="+node.API, "--registry="+caddy.URL))
	img.MustBe(t, harness.PullByDocker(t, again))
}

// A stargz layer can be read as a lazy client reads it: the footer, the table of
// contents, then several files in one request. With and without a cache, the bytes are
// those of the layer.
func TestStargzLayerIsReadByRanges(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	is := publishStargz(t, node, img)
	for way, directive := range map[string]string{
		"verified": "ipfs_registry " + node.Gateway,
		"cached":   "ipfs_registry " + node.Gateway + " {\nstore " + t.TempDir() + "\n}",
	} {
		caddy := harness.NewCaddy(t, directive)
		url := caddy.URL + "/v2/" + is.repository() + "/blobs/" + is.layer
		layer := harness.Get(t, url).Text
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
	return resp.Text
}

func getRange(t *testing.T, url, part string) harness.Response {
	t.Helper()
	return harness.MustSend(t, harness.NoRedirects, http.MethodGet, url, "Range", "bytes="+part)
}

// mustGiveParts requests several parts of a file at once. The ends of a part are its
// first and its last byte.
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
	r := multipart.NewReader(strings.NewReader(resp.Text), params["boundary"])
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

// A deny list can name a blob by its own CID in every layout, also in those in which no
// path leads from the image's address to the blob.
func TestBlobIsDeniedInEveryLayout(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	for _, fixture := range fixtures {
		t.Run(fixture.name, func(t *testing.T) {
			harness.Parallel(t)
			is := fixture.publish(t, node, img)
			open := harness.NewCaddy(t, "ipfs_registry "+node.Gateway+" {\nblobs redirect\n}")
			resp := harness.Get(t, open.URL+"/v2/"+is.repository()+"/blobs/"+is.layer)
			_, path, ok := strings.Cut(resp.Header.Get("Location"), "/ipfs/")
			if !ok {
				t.Fatalf("%s: %v", resp.Status, resp.Header)
			}
			list := filepath.Join(t.TempDir(), "deny")
			harness.WriteFile(t, list, "/ipfs/"+harness.IPFS(t, node.Repo, "resolve", "/ipfs/"+path)[len("/ipfs/"):]+"\n")
			for _, options := range []string{"", "blobs redirect\n"} {
				caddy := harness.NewCaddy(t, "ipfs_registry "+node.Gateway+" {\ndeny "+list+"\n"+options+"}")
				repository := caddy.URL + "/v2/" + is.repository()
				for digest, want := range map[string]int{is.layer: http.StatusGone, is.config: http.StatusOK} {
					if resp := follow(t, repository+"/blobs/"+digest); resp.StatusCode != want {
						t.Errorf("%q: a blob is answered with %s, want %d", options, resp.Status, want)
					}
				}
				if resp := harness.Get(t, repository+"/manifests/"+is.tag()); resp.StatusCode != http.StatusOK {
					t.Errorf("%q: the manifest is answered with %s", options, resp.Status)
				}
			}
		})
	}
}
