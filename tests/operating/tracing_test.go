package operating

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The spans of a request are below Caddy's own span. They show what the request waited
// for, and which attempts failed.
func TestSpansShowWhatARequestWaitsFor(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	liar := newFalsifier(t, kubo.Gateway)
	dns := harness.NewDNSServer(t, "images.example.com", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	spans := newCollector(t)
	o := harness.NewOperated(t, fmt.Sprintf(`tracing {
		span {http.request.uri.path}
	}
	ipfs_registry %s {
		gateway %s
		names {
			dnslink images.example.com
			resolver %s
		}
	}`, liar, kubo.Gateway, dns),
		"OTEL_EXPORTER_OTLP_ENDPOINT="+spans.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=20")
	ref := harness.Convert(t, harness.ArchiveOfLayers(t, "app:v1", harness.Noise(300_000)), "--ipfs-api="+kubo.API, "--registry="+o.URL)
	url := harness.Repository(ref)

	request := func(path string) traceSpan {
		t.Helper()
		harness.Get(t, o.URL+path)
		var root traceSpan
		o.Await(t, "a span of "+path, func() bool {
			root = spans.find(t, path)
			return root.Span != nil
		})
		return root
	}
	path := strings.TrimPrefix(url, o.URL)
	root := request(path + "/manifests/v1")
	for key, want := range map[string]string{"kind": "manifest", "cid": harness.CIDv1(t, harness.Address(ref)), "name": "app", "reference": "v1", "source": "gateway"} {
		if got := root.attribute("ipfs_registry." + key); got != want {
			t.Errorf("the span's ipfs_registry.%s is %q, want %q", key, got, want)
		}
	}
	resolve := spans.below(root, "ipfs_registry.resolve")
	if len(resolve) != 1 || resolve[0].attribute("ipfs_registry.reference") != "v1" || resolve[0].failed() {
		t.Fatalf("the spans of resolving a tag are %v", resolve)
	}
	fetch := spans.below(resolve[0], "ipfs_registry.fetch")
	if len(fetch) == 0 || len(spans.below(fetch[0], "ipfs_registry.verify")) != 1 {
		t.Errorf("the spans of fetching a manifest are %v", fetch)
	}

	root = request(path + "/blobs/" + layer(t, ref))
	var asked []string
	for _, fetch := range spans.below(root, "ipfs_registry.fetch") {
		if !strings.HasPrefix(fetch.attribute("ipfs_registry.path"), "ipfs/"+harness.CIDv1(t, harness.Address(ref))+"/app/blobs/") || fetch.attribute("ipfs_registry.format") != "plain" {
			continue
		}
		gateway := fetch.attribute("ipfs_registry.gateway")
		asked = append(asked, gateway)
		verify := spans.below(fetch, "ipfs_registry.verify")
		if len(verify) != 1 || verify[0].failed() != (gateway == liar) || fetch.failed() != (gateway == liar) || fetch.attribute("http.response.status_code") != "200" && gateway == liar {
			t.Errorf("the spans of fetching a blob from %s are %v, %v", gateway, fetch, verify)
		}
	}
	if !slices.Equal(asked, []string{liar, kubo.Gateway}) {
		t.Errorf("a blob was fetched from %q, want the liar and then the node", asked)
	}

	root = request("/v2/ipns/images.example.com/manifests/absent")
	resolve = spans.below(root, "ipfs_registry.resolve")
	if len(resolve) != 2 || resolve[0].attribute("ipfs_registry.ipns") != "images.example.com" || resolve[0].failed() || !resolve[1].failed() {
		t.Errorf("the spans of resolving a name and a missing tag are %v", resolve)
	}

	page := harness.ReadFile(t, harness.InRepo("docs/operations.md"))
	for _, name := range spans.names() {
		if strings.HasPrefix(name, "ipfs_registry.") && !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/operations.md lacks %s", name)
		}
	}
}

// A spanCollector is a server that OpenTelemetry sends spans to.
type spanCollector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []traceSpan
}

type traceSpan struct{ *trace.Span }

func newCollector(t *testing.T) *spanCollector {
	t.Helper()
	c := new(spanCollector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range sent.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					c.spans = append(c.spans, traceSpan{s})
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// find returns the span with a name and without a parent, or a zero value if it has not
// arrived. Spans are sent in the order in which they end, so those below it that ended
// before have arrived.
func (c *spanCollector) find(t *testing.T, name string) traceSpan {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name && len(s.ParentSpanId) == 0 {
			return s
		}
	}
	return traceSpan{}
}

// below returns the spans with a name that have the given parent, in the order in which
// they began.
func (c *spanCollector) below(parent traceSpan, name string) []traceSpan {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []traceSpan
	for _, s := range c.spans {
		if s.Name == name && string(s.TraceId) == string(parent.TraceId) && string(s.ParentSpanId) == string(parent.SpanId) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b traceSpan) int { return cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano) })
	return found
}

func (c *spanCollector) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, s := range c.spans {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s traceSpan) failed() bool { return s.Status.GetCode() == trace.Status_STATUS_CODE_ERROR }

func (s traceSpan) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key && a.Value.GetStringValue() == "" {
			return fmt.Sprint(a.Value.GetIntValue())
		}
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

func (s traceSpan) String() string {
	return fmt.Sprintf("%s %s %v %s", s.Name, hex.EncodeToString(s.SpanId), s.Attributes, s.Status)
}
