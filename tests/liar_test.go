package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// A gateway that lies about a blob costs the pull, never a wrong byte. The log
// says which gateway and which blob, and Caddy goes on.
func TestLyingGateway(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	liar := newLiar(t, kubo.gateway)
	caddy := newCaddy(t, "ipfs_registry "+liar.URL)
	ref := convert(t, img.archive, "--ipfs-api="+kubo.api, "--registry="+caddy.registry)

	d := newDocker(t, "--max-download-attempts=1")
	if out, _, err := try(d.command("pull", ref)); err == nil {
		t.Errorf("docker pulled what a lying gateway gave:\n%s", out)
	}
	if liar.lies.Load() == 0 {
		t.Fatal("nobody was lied to")
	}
	m, _ := fetchManifest(t, ref)
	layersMustBeWholeOrBroken(t, ref, m)
	caddy.await(t, "an error that names "+liar.URL+" and a layer", func() bool {
		return blamed(caddy.log.String(), liar.URL, m)
	})
	caddy.mustAnswer(t)
}

// Beside an honest gateway, nobody notices a lie.
func TestLyingGatewayBesideHonest(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	liar := newLiar(t, kubo.gateway)
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry %s %s", liar.URL, kubo.gateway))
	ref := convert(t, img.archive, "--ipfs-api="+kubo.api, "--registry="+caddy.registry)

	d := newDocker(t, "--max-download-attempts=1")
	d.docker(t, "pull", ref)
	d.mustRun(t, ref)
	img.mustBe(t, d.id(t, ref))
	m, _ := fetchManifest(t, ref)
	layersMustBeWholeOrBroken(t, ref, m)
	if liar.asked.Load() == 0 {
		t.Error("the lying gateway was never asked")
	}
}

// layersMustBeWholeOrBroken fetches each layer as a client would that checks
// nothing but that the answer has the announced length: that alone must tell
// it.
func layersMustBeWholeOrBroken(t *testing.T, ref string, m manifest) {
	t.Helper()
	for _, layer := range m.Layers {
		resp, err := fetch(repository(ref) + "/blobs/" + layer.Digest)
		if err == nil && (resp.StatusCode != http.StatusOK || digestOf([]byte(resp.body)) != layer.Digest) {
			t.Errorf("%s was answered with %d and something else", layer.Digest, resp.StatusCode)
		}
	}
}

// A liar is a gateway that gives what another does, but for one byte in the
// midst of whatever is large.
type liar struct {
	*httptest.Server
	asked, lies atomic.Int64
}

func newLiar(t *testing.T, gateway string) *liar {
	t.Helper()
	honest, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	l := new(liar)
	proxy := httputil.NewSingleHostReverseProxy(honest)
	proxy.ModifyResponse = func(resp *http.Response) error {
		l.asked.Add(1)
		resp.Body = &lie{resp.Body, 500_000, &l.lies}
		return nil
	}
	l.Server = httptest.NewServer(proxy)
	t.Cleanup(l.Close)
	return l
}

// A lie is a body with one byte changed, that at an offset, if it is that long.
type lie struct {
	io.ReadCloser
	offset int // from where it was read to
	told   *atomic.Int64
}

func (l *lie) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if 0 <= l.offset && l.offset < n {
		p[l.offset] ^= 1
		l.told.Add(1)
	}
	l.offset -= n
	return n, err
}

// blamed tells whether a line of Caddy's log says, as an error, what is wrong
// with which of the layers and whose fault it is.
func blamed(log, gateway string, m manifest) bool {
	host := strings.TrimPrefix(gateway, "http://")
	for line := range strings.Lines(log) {
		var entry struct{ Level string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Level != "error" || !strings.Contains(line, host) {
			continue
		}
		if slices.ContainsFunc(m.Layers, func(d descriptor) bool { return strings.Contains(line, d.Digest) }) {
			return true
		}
	}
	return false
}
