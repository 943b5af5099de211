package agentapi

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	reports  *prometheus.CounterVec
	polls    prometheus.Gauge
	// unrendered counts the polls of devices that are not rendered although that is due.
	unrendered prometheus.Counter
	signed     *prometheus.CounterVec
	refusals   *prometheus.CounterVec
	expired    prometheus.Counter
}

func newMetrics(registry *prometheus.Registry) metrics {
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	m := metrics{
		registry: registry,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_gateway_requests_total", Help: "Requests of agents that were answered, by call and status code.",
		}, []string{"call", "code"}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_gateway_reports_total",
			Help: "Reports of devices that a roll call waits for: sent to a workflow, noted on the roll because the workflow " +
				"is not there yet, repeated too soon to be sent again, held back because the device has reported too many " +
				"versions, or failed.",
		}, []string{"result"}),
		unrendered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_gateway_unrendered_polls_total",
			Help: "Polls of devices that were due to be rendered, and were not: ahead of the backup, or with a spec that " +
				"Rollcall cannot render. The log says which.",
		}),
		polls: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_gateway_polls_open", Help: "Polls that are held.",
		}),
		signed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_gateway_certificates_total",
			Help: "Approved enrollment requests without a certificate that agents asked for: signed, or unable to be signed " +
				"here.",
		}, []string{"result"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_gateway_refusals_total",
			Help: "Calls that were refused, by reason: the certificate was revoked, or its key was replaced; a renewal was " +
				"for another key, or one of too many; an address has posted too many enrollment requests, too many are pending; " +
				"or an address or a certificate has too many connections.",
		}, []string{"reason"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_gateway_requests_expired_total", Help: "Pending enrollment requests that have expired.",
		}),
	}
	registry.MustRegister(m.requests, m.reports, m.polls, m.signed, m.refusals, m.expired, m.unrendered)
	return m
}

// watchFlow shows how many reports are under way.
func (m metrics) watchFlow(f *flow) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_gateway_reports_under_way",
		Help: "Reports that were sent to the roll call and not yet seen to be answered.",
	}, func() float64 { return float64(f.underWay()) }))
}

// opsHandler answers /healthz (the process lives), /readyz (the database has the schema and takes writes) and /metrics.
// A gateway without Temporal is ready: it serves all devices that no roll call waits for, and keeps on the roll what
// the others say.
func (g *Gateway) opsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", g.answerReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

func (g *Gateway) answerReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := bounded(r.Context())
	defer cancel()
	err := g.cfg.Store.CheckSchema(ctx)
	if err == nil {
		err = g.cfg.Store.CheckWritable(ctx)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if err := g.standsAlone(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
