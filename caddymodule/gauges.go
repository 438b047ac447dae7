package caddymodule

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// gauges are read from all running handlers when metrics are collected. A gateway, list
// or cache of several handlers has one value.
type gauges struct{}

var (
	gatewayHealthy = gauge("gateway_healthy", "Whether a gateway is asked in its turn and waited for: 1; or 0 for a while after it failed, while it refuses everybody, and until it answers again.", "gateway")
	listRules      = gauge("list_rules", "Rules of a deny list, or roots on an allow list, that are in force.", "list", "file")
	cacheBytes     = gauge("cache_bytes", "Memory that a cache takes.", "cache")
	recordExpiry   = gauge("root_record_expiry_timestamp_seconds", "Unix time at which the newest IPNS record of a store's own root ends, unless it is renewed.", "store")
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
	all <- recordExpiry
}

// Collect implements prometheus.Collector.
func (gauges) Collect(all chan<- prometheus.Metric) {
	type rules struct{ list, file string }
	healthy, inForce, memory, onDisk := map[string]bool{}, map[rules]int{}, 0, map[string]int64{}
	for _, i := range runningInstances() {
		memory += i.library.ManifestBytes()
		if i.pool != nil {
			for _, s := range i.pool.States() {
				before, known := healthy[s.Gateway]
				healthy[s.Gateway] = isHealthy(s) && (before || !known)
			}
		}
		if i.cache != nil {
			onDisk[i.cache.dir()] = i.cache.cache.Size()
		}
		for _, f := range i.lists.Files() {
			inForce[rules{listName(f.Allow), f.Name}] = f.Rules
		}
	}
	for _, s := range runningStores() {
		if last, err := s.Root().LastRecord(); err == nil {
			all <- prometheus.MustNewConstMetric(recordExpiry, prometheus.GaugeValue, float64(last.Expires.Unix()), s.Dir())
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
	all <- prometheus.MustNewConstMetric(cacheBytes, prometheus.GaugeValue, float64(memory), images.CacheManifests)
}

// isHealthy reports whether a gateway is asked in its turn and gets its full time.
func isHealthy(s gateway.State) bool {
	return !isPutBack(s) && !s.Silent && !s.Away && !s.Refusing && !time.Now().Before(s.Busy)
}

func isPutBack(s gateway.State) bool { return time.Now().Before(s.PutBack) }
