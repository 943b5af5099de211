package host

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"

	"rollcall/inventory"
)

// Metrics gathers what a process measures, for Prometheus.
type Metrics struct {
	registry *prometheus.Registry
	provider *sdkmetric.MeterProvider
}

// NewMetrics makes an empty set with the Go runtime's and the process's own.
func NewMetrics() (*Metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("make the Prometheus exporter: %w", err)
	}
	return &Metrics{registry: registry, provider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))}, nil
}

// Registry is where a process adds what is its own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// ForTemporal is the handler to give to Dial, so that the SDK's own metrics are among them.
func (m *Metrics) ForTemporal(logger *slog.Logger) client.MetricsHandler {
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:   m.provider.Meter("temporal-sdk-go"),
		OnError: func(err error) { logger.Warn("Metric could not be recorded", "error", err) },
	})
}

func (h *Host) metricsHandler() http.Handler {
	metrics := h.cfg.Metrics
	if metrics == nil {
		metrics = &Metrics{registry: prometheus.NewRegistry()}
	}
	metrics.registry.MustRegister(&rollCollector{store: h.cfg.Store})
	return promhttp.HandlerFor(metrics.registry, promhttp.HandlerOpts{})
}

// rollCollector reads the tally of the restores that run, at each scrape; the database is the truth about devices.
type rollCollector struct {
	store *inventory.Store
}

var (
	upDesc = prometheus.NewDesc("rollcall_database_up", "1 if the inventory's database answered this scrape, else 0.",
		nil, nil)
	devicesDesc = prometheus.NewDesc("rollcall_devices", "Devices on the roll of a running restore, by state.",
		[]string{"restore", "state"}, nil)
	oldestDesc = prometheus.NewDesc("rollcall_human_wait_oldest_seconds",
		"How long the device that has waited longest for a human has done so, in seconds.", []string{"restore"}, nil)
	sumDesc = prometheus.NewDesc("rollcall_human_wait_seconds",
		"How long all devices that wait for a human have done so, in seconds, added up.", []string{"restore"}, nil)
	heldDesc = prometheus.NewDesc("rollcall_reports_held_back",
		"Reports of devices on the roll of a running restore that were not told to it, as the devices report too many "+
			"versions.", []string{"restore"}, nil)
)

// Describe names the metrics.
func (c *rollCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- upDesc
	ch <- devicesDesc
	ch <- oldestDesc
	ch <- sumDesc
	ch <- heldDesc
}

// Collect reads the database. While it does not answer, the tally is missing and rollcall_database_up is 0, so that a
// stale figure is never served; the SDK's own metrics go on.
func (c *rollCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	waits, err := c.store.RunningRolls(ctx)
	up := 1.0
	if err != nil {
		up = 0
	}
	ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, up)
	for _, w := range waits {
		for state, n := range w.Counts {
			ch <- prometheus.MustNewConstMetric(devicesDesc, prometheus.GaugeValue, float64(n), w.RestoreID, string(state))
		}
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, w.OldestPaused.Seconds(), w.RestoreID)
		ch <- prometheus.MustNewConstMetric(sumDesc, prometheus.GaugeValue, w.TotalPaused.Seconds(), w.RestoreID)
		ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(w.HeldBack), w.RestoreID)
	}
}
