package caddymodule

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// metrics are counted for the whole process: Caddy makes a new registry with each
// configuration, and in all of them it is these that are registered, so they go
// on where they were. What labels can be is either fixed or in the configuration;
// nothing that clients say is among it.
var metrics = struct {
	requests             *prometheus.CounterVec
	sentBytes            *prometheus.CounterVec
	cacheRequests        *prometheus.CounterVec
	gatewayRequests      *prometheus.CounterVec
	gatewayLatency       *prometheus.HistogramVec
	verificationFailures *prometheus.CounterVec
	namesResolved        *prometheus.CounterVec
	refusals             *prometheus.CounterVec
	fills                *prometheus.CounterVec
	filledBytes          *prometheus.CounterVec
	evictions            prometheus.Counter
	evictedBytes         prometheus.Counter
}{
	requests:             counter("requests_total", "Requests, by what they were for and what became of them.", "kind", "result"),
	sentBytes:            counter("sent_bytes_total", "Bytes of manifests, blobs and lists that were sent to clients, by where they came from.", "source"),
	cacheRequests:        counter("cache_requests_total", "Times that something was looked for in a cache.", "cache", "result"),
	gatewayRequests:      counter("gateway_requests_total", "Attempts to get something from a gateway.", "gateway", "result"),
	verificationFailures: counter("verification_failures_total", "Answers of a gateway that were not what they had to be.", "gateway"),
	namesResolved:        counter("names_resolved_total", "Times that it was found out what an IPNS key or a domain stands for.", "result"),
	refusals:             counter("refusals_total", "Requests that were refused, by the kind of list that wants it.", "list"),
	fills:                counter("fills_total", "Blobs that were on their way into a store's cache, by what became of them.", "result"),
	filledBytes:          counter("filled_bytes_total", "Bytes that were put into a store's cache, by how they came.", "way"),
	evictions:            counter("evictions_total", "Files of a store's cache that made way for others.").WithLabelValues(),
	evictedBytes:         counter("evicted_bytes_total", "Bytes of a store's cache that made way for others.").WithLabelValues(),
	gatewayLatency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace,
		Subsystem: metricsSubsystem,
		Name:      "gateway_latency_seconds",
		Help:      "Time until a gateway answered with a header.",
		Buckets:   append([]float64{.001, .0025}, append(prometheus.DefBuckets, gateway.Patience.Seconds())...),
	}, []string{"gateway"}),
}

const (
	metricsNamespace = "caddy"
	metricsSubsystem = "ipfs_registry"
)

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help}, labels)
}

func init() {
	// What may be long in coming is shown before it came, as 0.
	for _, s := range []source{sourceStore, sourceGateway} {
		metrics.sentBytes.WithLabelValues(string(s))
	}
	for _, list := range []string{listDeny, listAllow} {
		metrics.refusals.WithLabelValues(list)
	}
	for _, result := range []string{cacheHit, cacheMiss} {
		metrics.cacheRequests.WithLabelValues(cacheManifests, result)
		metrics.cacheRequests.WithLabelValues(cacheBlobs, result)
	}
	for _, result := range fill.Results {
		metrics.fills.WithLabelValues(string(result))
	}
	for _, way := range []string{wayGateway, wayCopied} {
		metrics.filledBytes.WithLabelValues(way)
	}
	metrics.namesResolved.WithLabelValues(resultOK)
}

// showGateways makes a pool's gateways seen before anything happens to them.
func showGateways(p *gateway.Pool) {
	for _, s := range p.States() {
		metrics.verificationFailures.WithLabelValues(s.Gateway)
		metrics.gatewayLatency.WithLabelValues(s.Gateway)
	}
}

// registerMetrics registers everything with a configuration's registry, where
// another handler of the same configuration may have done so.
func registerMetrics(registry *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{
		metrics.requests,
		metrics.sentBytes,
		metrics.cacheRequests,
		metrics.gatewayRequests,
		metrics.gatewayLatency,
		metrics.verificationFailures,
		metrics.namesResolved,
		metrics.refusals,
		metrics.fills,
		metrics.filledBytes,
		metrics.evictions,
		metrics.evictedBytes,
		gauges{},
	} {
		err := registry.Register(c)
		if _, already := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !already {
			return err
		}
	}
	return nil
}

// gauges are what is so at the moment of all handlers that run. Where several
// have the same gateway, list or cache, there is one value for them.
type gauges struct{}

var (
	gatewayHealthy = gauge("gateway_healthy", "Whether a gateway is asked in its turn and waited for: 1, or 0 for a while after it failed, and until it answers again.", "gateway")
	listRules      = gauge("list_rules", "Rules of a deny list, or roots on an allow list, that are in force.", "list", "file")
	cacheBytes     = gauge("cache_bytes", "Memory that is taken by a cache.", "cache")
	storeBytes     = gauge("store_cache_bytes", "Bytes on disk that the cache of a store takes, as far as is known.", "store")
)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, metricsSubsystem, name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (gauges) Describe(all chan<- *prometheus.Desc) {
	all <- gatewayHealthy
	all <- listRules
	all <- cacheBytes
	all <- storeBytes
}

// Collect implements prometheus.Collector.
func (gauges) Collect(all chan<- prometheus.Metric) {
	type rules struct{ list, file string }
	healthy, inForce, memory, onDisk := map[string]bool{}, map[rules]int{}, 0, map[string]int64{}
	for _, h := range runningHandlers() {
		if h.pool != nil {
			memory += h.manifests.size()
			for _, s := range h.pool.States() {
				before, known := healthy[s.Gateway]
				healthy[s.Gateway] = isHealthy(s) && (before || !known)
			}
		}
		if h.cached != nil {
			onDisk[h.cached.Store().Dir()] = h.cached.Size()
		}
		for _, f := range h.lists.Files() {
			inForce[rules{listName(f.Allow), f.Name}] = f.Rules
		}
	}
	for gateway, is := range healthy {
		value := 0.0
		if is {
			value = 1
		}
		all <- prometheus.MustNewConstMetric(gatewayHealthy, prometheus.GaugeValue, value, gateway)
	}
	for r, n := range inForce {
		all <- prometheus.MustNewConstMetric(listRules, prometheus.GaugeValue, float64(n), r.list, r.file)
	}
	for dir, n := range onDisk {
		all <- prometheus.MustNewConstMetric(storeBytes, prometheus.GaugeValue, float64(n), dir)
	}
	all <- prometheus.MustNewConstMetric(cacheBytes, prometheus.GaugeValue, float64(memory), cacheManifests)
}

const (
	listDeny  = "deny"
	listAllow = "allow"
)

func listName(allow bool) string {
	if allow {
		return listAllow
	}
	return listDeny
}

const (
	cacheManifests = "manifests"
	cacheBlobs     = "blobs" // in a store
	cacheHit       = "hit"
	cacheMiss      = "miss"
)

// countLook counts a look into a cache.
func countLook(cache string, hit bool) {
	result := cacheMiss
	if hit {
		result = cacheHit
	}
	metrics.cacheRequests.WithLabelValues(cache, result).Inc()
}

// How bytes come into a store's cache.
const (
	wayGateway = "gateway"
	wayCopied  = "copied" // from other blobs of the store
)

// countFill counts a fill that is over.
func countFill(o fill.Outcome) {
	metrics.fills.WithLabelValues(string(o.Result)).Inc()
	metrics.filledBytes.WithLabelValues(wayGateway).Add(float64(o.Fetched))
	metrics.filledBytes.WithLabelValues(wayCopied).Add(float64(o.Copied))
}

// countEviction counts a file that made way.
func countEviction(bytes int64) {
	metrics.evictions.Inc()
	metrics.evictedBytes.Add(float64(bytes))
}

// countRefusal counts a refusal by the lists.
func countRefusal(err error) {
	metrics.refusals.WithLabelValues(listName(errors.Is(err, denylist.ErrNotAllowed))).Inc()
}

// countName counts an attempt to find out what a name stands for, when it is over.
func countName(ctx context.Context, err *error) {
	metrics.namesResolved.WithLabelValues(nameResult(ctx, *err)).Inc()
}

func nameResult(ctx context.Context, err error) string {
	if err == nil {
		return resultOK
	}
	if ctx.Err() != nil {
		return resultClientClosed
	}
	if _, is := errors.AsType[*registryError](err); is { // not there, or not allowed
		return resultNotFound
	}
	return resultGatewayError
}

// What became of a request.
const (
	resultOK           = "ok"
	resultNotModified  = "not_modified"
	resultRedirected   = "redirected"
	resultNotFound     = "not_found"
	resultDenied       = "denied"
	resultReadOnly     = "read_only"
	resultBadRequest   = "bad_request"
	resultGatewayError = "gateway_error"
	resultError        = "error"
	resultCutOff       = "cut_off"
	resultClientClosed = "client_closed"
)
