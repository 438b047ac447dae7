package operating

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Metrics count requests and failures, do not start again after a reload, and are all on
// the dashboard and in docs/operations.md.
func TestMetricsCountAndAreDocumented(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	liar := newFalsifier(t, kubo.Gateway)
	dns := harness.NewDNSServer(t, "images.example.com", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	store, deny := t.TempDir(), filepath.Join(t.TempDir(), "list.deny")
	const denied = "ciqfkvev2vvvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvkvi"
	harness.WriteFile(t, deny, "/ipfs/"+harness.CIDv1(t, denied)+"\n")
	site := fmt.Sprintf(`ipfs_registry %s {
		gateway %s
		store %s {
			max_size off
		}
		deny %s
		names {
			dnslink images.example.com
			resolver %s
		}
	}`, liar, kubo.Gateway, store, deny, dns)
	o := harness.NewOperated(t, site)
	far := harness.Convert(t, harness.ArchiveOfLayers(t, "far:v1", harness.Noise(300_000)), "--ipfs-api="+kubo.API, "--registry="+o.URL)
	near := harness.Convert(t, harness.ArchiveOfLayers(t, "near:v1", harness.Noise(200_000)), "--store="+store, "--registry="+o.URL)
	sent := map[string]int{}
	pull := func() {
		t.Helper()
		for source, ref := range map[string]string{"gateway": far, "store": near} {
			manifest, _ := harness.FetchManifest(t, ref)
			sent[source] += len(harness.Get(t, harness.Repository(ref)+"/blobs/"+manifest.Layers[0].Digest).Text)
			sent[source] += 2 * len(harness.Get(t, harness.Repository(ref)+"/manifests/latest").Text)
		}
		for url, status := range map[string]int{
			o.URL + "/v2/": 200,
			harness.Repository(far) + "/manifests/absent": 404,
			o.URL + "/v2/NO": 404,
			o.URL + "/v2/" + denied + "/x/blobs/sha256:" + strings.Repeat("0", 64): 410,
			o.URL + "/v2/ipns/images.example.com/manifests/latest":                 404,
		} {
			if resp := harness.Get(t, url); resp.StatusCode != status {
				t.Errorf("%s: %d %s", url, resp.StatusCode, resp.Text)
			}
		}
	}
	pull()
	first := o.Metrics(t)
	o.Load(t, site+"\nrespond /other 200")
	pull()
	second := o.Metrics(t)

	for series, want := range map[string]float64{
		`requests_total{kind="manifest",result="ok"}`:              8,
		`requests_total{kind="manifest",result="not_found"}`:       4,
		`requests_total{kind="blob",result="ok"}`:                  4,
		`requests_total{kind="blob",result="denied"}`:              2,
		`requests_total{kind="base",result="ok"}`:                  2,
		`requests_total{kind="other",result="not_found"}`:          2,
		`sent_bytes_total{source="gateway"}`:                       float64(sent["gateway"]),
		`sent_bytes_total{source="store"}`:                         float64(sent["store"]),
		`cache_requests_total{cache="manifests",result="hit"}`:     2,
		`names_resolved_total{result="ok"}`:                        2,
		`refusals_total{list="deny"}`:                              2,
		fmt.Sprintf(`list_rules{file="%s",list="deny"}`, deny):     1,
		fmt.Sprintf(`gateway_healthy{gateway="%s"}`, liar):         0,
		fmt.Sprintf(`gateway_healthy{gateway="%s"}`, kubo.Gateway): 1,
	} {
		if got, there := second[prefix+series]; !there || got != want {
			t.Errorf("after two pulls, %s is %v, want %v", series, got, want)
		}
	}
	failures := prefix + fmt.Sprintf(`verification_failures_total{gateway="%s"}`, liar)
	if first[failures] == 0 || second[failures] <= first[failures] || second[strings.Replace(failures, liar, kubo.Gateway, 1)] != 0 {
		t.Errorf("the false gateway has %v failures, and %v after a reload", first[failures], second[failures])
	}
	for series, before := range first {
		if strings.Contains(series, "_total") && strings.HasPrefix(series, prefix) && second[series] < before {
			t.Errorf("after a reload, %s went from %v to %v", series, before, second[series])
		}
	}

	manifest, _ := harness.FetchManifest(t, far)
	cached := t.TempDir()
	harness.Convert(t, harness.ArchiveOfLayers(t, "own:v1", "of a root"), "--store="+cached, "--onto=root")
	harness.InStore(t, cached, "key") // whose record has a metric
	o.Load(t, strings.NewReplacer(store, cached, "max_size off", "max_size 10MB").Replace(site))
	kept := prefix + `fills_total{result="kept"}`
	size := prefix + fmt.Sprintf(`store_cache_bytes{store="%s"}`, cached)
	layer := harness.Repository(far) + "/blobs/" + manifest.Layers[0].Digest
	harness.Get(t, layer) // without the manifest, so that no prefetch comes first
	o.Await(t, "the layer in the cache", func() bool { return o.Metrics(t)[kept] == 1 })
	harness.Get(t, layer)
	third := o.Metrics(t)
	for series, want := range map[string]float64{
		`filled_bytes_total{way="gateway"}`:                 float64(manifest.Layers[0].Size),
		`filled_bytes_total{way="copied"}`:                  0,
		`cache_requests_total{cache="blobs",result="hit"}`:  1,
		`cache_requests_total{cache="blobs",result="miss"}`: 1,

		`evictions_total`: 0,
	} {
		if got, there := third[prefix+series]; !there || got != want {
			t.Errorf("after a pull into the cache, %s is %v, want %v", series, got, want)
		}
	}
	if third[size] < float64(manifest.Layers[0].Size) {
		t.Errorf("the cache has %v bytes", third[size])
	}
	o.Load(t, strings.NewReplacer(store, cached, "max_size off", "max_size 100kB").Replace(site))
	o.Await(t, "the eviction of the layer", func() bool {
		now := o.Metrics(t)
		return now[prefix+"evictions_total"] > 0 && now[prefix+"evicted_bytes_total"] >= float64(manifest.Layers[0].Size) && now[size] <= 100_000
	})

	there := families(slices.Collect(maps.Keys(third)))
	for _, page := range []string{"docs/grafana-dashboard.json", "docs/operations.md"} {
		named := families(metricName.FindAllString(harness.ReadFile(t, harness.InRepo(page)), -1))
		if !slices.Equal(named, there) {
			t.Errorf("%s has %q, and Caddy has %q", page, named, there)
		}
	}
}

const prefix = "caddy_ipfs_registry_"

var metricName = regexp.MustCompile(prefix + `[a-z_]+`)

// families returns the names of our metrics that the series belong to, sorted.
func families(series []string) []string {
	var all []string
	for _, s := range series {
		if name := metricName.FindString(s); name != "" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, part)
			}
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// newFalsifier starts a gateway that passes on the answers of another with one wrong bit
// in every blob, and returns its URL.
func newFalsifier(t *testing.T, gateway string) string {
	t.Helper()
	honest, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(honest)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && r.URL.RawQuery == "" {
			w = &falsifier{ResponseWriter: w}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

type falsifier struct {
	http.ResponseWriter
	done bool
}

func (f *falsifier) Write(b []byte) (int, error) {
	if !f.done && len(b) > 0 {
		b = slices.Clone(b)
		b[0] ^= 1
		f.done = true
	}
	return f.ResponseWriter.Write(b)
}
