// Package metrics serves the plugin's state to Prometheus. Each scrape turns one
// status.Report into metrics, so they show the same numbers as logspool status and the
// status page. table.go has all metrics of the plugin; docs/metrics.md lists them.
//
// The package must not know how anything works: it only reads reports.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/logspool/logspool/internal/status"
)

// maxScrapes is how many scrapes may run at once. Further ones get status 503, so that many
// clients cannot take the processor from the containers.
const maxScrapes = 4

// Options configure a Handler.
type Options struct {
	// MaxContainers is how many containers have series of their own. With more, the series are
	// sums by log group.
	MaxContainers int
}

// Handler returns a handler that answers each request with the metrics of one report. It
// waits only for src and for the client.
func Handler(src status.Source, o Options) http.Handler {
	// The answer is not compressed. That would cost more processor time on a host that is
	// scraped every second than all the rest of a scrape.
	return promhttp.HandlerFor(registry(src, o), promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // the other metrics are still right
		MaxRequestsInFlight: maxScrapes,
		DisableCompression:  true,
	})
}

func registry(src status.Source, o Options) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(src, o),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
