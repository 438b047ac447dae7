package caddymodule

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// metrics are counted for the whole process. Caddy makes a new registry with each
// configuration. The same collectors are registered with all of them, so counters
// continue through reloads. Label values are fixed or come from the configuration, never
// from clients.
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
	uploads              *prometheus.CounterVec
	uploadedBytes        prometheus.Counter
	uploadsInFlight      prometheus.Gauge
	rootChanges          *prometheus.CounterVec
	rootChangeTime       prometheus.Histogram
}{
	requests:             counter("requests_total", "Requests, by kind and result.", "kind", "result"),
	sentBytes:            counter("sent_bytes_total", "Bytes of manifests, blobs and lists sent to clients, by source.", "source"),
	cacheRequests:        counter("cache_requests_total", "Look-ups in a cache.", "cache", "result"),
	gatewayRequests:      counter("gateway_requests_total", "Attempts at a gateway, by result.", "gateway", "result"),
	verificationFailures: counter("verification_failures_total", "Answers of a gateway that failed verification.", "gateway"),
	namesResolved:        counter("names_resolved_total", "Look-ups of IPNS keys and domains, by result.", "result"),
	refusals:             counter("refusals_total", "Requests refused by a deny or allow list.", "list"),
	fills:                counter("fills_total", "Finished fills of a store's cache, by result.", "result"),
	filledBytes:          counter("filled_bytes_total", "Bytes written by fills of a store's cache, by where they came from.", "way"),
	evictions:            counter("evictions_total", "Files evicted from a store's cache.").WithLabelValues(),
	evictedBytes:         counter("evicted_bytes_total", "Bytes evicted from a store's cache.").WithLabelValues(),
	uploads:              counter("uploads_total", "Requests that sent bytes of a blob, by result.", "result"),
	uploadedBytes:        counter("uploaded_bytes_total", "Bytes of blobs that clients sent.").WithLabelValues(),
	rootChanges:          counter("root_changes_total", "Changes of the own root, by result.", "result"),
	uploadsInFlight: prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem,
		Name: "uploads_in_flight", Help: "Requests that are sending bytes of a blob.",
	}),
	rootChangeTime: prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem,
		Name: "root_change_seconds", Help: "Time of a change of the own root.",
		Buckets: prometheus.DefBuckets,
	}),
	gatewayLatency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace,
		Subsystem: metricsSubsystem,
		Name:      "gateway_latency_seconds",
		Help:      "Time until the header of a gateway's answer arrived.",
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
	// Series are shown as 0 before anything happens to them.
	for _, s := range []images.Origin{images.FromStore, images.FromGateway} {
		metrics.sentBytes.WithLabelValues(string(s))
	}
	for _, list := range []string{listDeny, listAllow} {
		metrics.refusals.WithLabelValues(list)
	}
	for _, result := range []string{cacheHit, cacheMiss} {
		metrics.cacheRequests.WithLabelValues(images.CacheManifests, result)
		metrics.cacheRequests.WithLabelValues(images.CacheBlobs, result)
	}
	for _, result := range fill.Results {
		metrics.fills.WithLabelValues(string(result))
	}
	for _, way := range []string{wayGateway, wayCopied} {
		metrics.filledBytes.WithLabelValues(way)
	}
	metrics.namesResolved.WithLabelValues(resultOK)
	for _, result := range registry.Results {
		metrics.uploads.WithLabelValues(result)
		metrics.rootChanges.WithLabelValues(result)
	}
}

// registerMetrics registers all collectors with a configuration's registry, unless
// another handler of the same configuration did.
func registerMetrics(registry *prometheus.Registry, current prometheus.Collector) error {
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
		metrics.uploads,
		metrics.uploadedBytes,
		metrics.uploadsInFlight,
		metrics.rootChanges,
		metrics.rootChangeTime,
		current,
	} {
		err := registry.Register(c)
		if _, already := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !already {
			return err
		}
	}
	return nil
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
	cacheHit  = "hit"
	cacheMiss = "miss"
)

// countLook counts a look-up in a cache. It is the images.Config.Looked.
func countLook(cache string, hit bool) {
	result := cacheMiss
	if hit {
		result = cacheHit
	}
	metrics.cacheRequests.WithLabelValues(cache, result).Inc()
}

// The ways by which bytes come into a store's cache.
const (
	wayGateway = "gateway"
	wayCopied  = "copied" // from other blobs of the store
)

// countFill counts a finished fill.
func countFill(o fill.Outcome) {
	metrics.fills.WithLabelValues(string(o.Result)).Inc()
	metrics.filledBytes.WithLabelValues(wayGateway).Add(float64(o.Fetched))
	metrics.filledBytes.WithLabelValues(wayCopied).Add(float64(o.Copied))
}

// countEviction counts an evicted file.
func countEviction(bytes int64) {
	metrics.evictions.Inc()
	metrics.evictedBytes.Add(float64(bytes))
}

// measureUpload counts a request that sends bytes of a blob. It is the
// registry.Hooks.Receiving.
func measureUpload() func(bytes int64, result string) {
	metrics.uploadsInFlight.Inc()
	return func(bytes int64, result string) {
		metrics.uploadsInFlight.Dec()
		metrics.uploadedBytes.Add(float64(bytes))
		metrics.uploads.WithLabelValues(result).Inc()
	}
}

// measureChange counts a change of the own root. It is the registry.Hooks.Changing.
func measureChange() func(result string) {
	began := time.Now()
	return func(result string) {
		metrics.rootChangeTime.Observe(time.Since(began).Seconds())
		metrics.rootChanges.WithLabelValues(result).Inc()
	}
}

// countRefusal counts a refusal by the lists. It is the registry.Hooks.Refused.
func countRefusal(err error) {
	metrics.refusals.WithLabelValues(listName(errors.Is(err, denylist.ErrNotAllowed))).Inc()
}

// countName counts a look-up of a name. It is the registry.Hooks.NameResolved.
func countName(err error) { metrics.namesResolved.WithLabelValues(nameResult(err)).Inc() }

func nameResult(err error) string {
	e, failed := errors.AsType[*images.Error](err)
	switch {
	case !failed:
		return resultOK
	case e.Class == images.Gone:
		return resultClientClosed
	case e.Class == images.Absent: // or not allowed
		return resultNotFound
	}
	return resultGatewayError
}

// The results of requests.
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
