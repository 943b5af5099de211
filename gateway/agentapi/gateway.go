package agentapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"rollcall/gateway/limits"
	"rollcall/inventory"
	"rollcall/runbook"
)

// Gateway serves the agents of one organisation.
type Gateway struct {
	cfg         Config
	listener    net.Listener
	ops         net.Listener
	polls       pollRegistry
	lastSeen    lastSeen
	batchReader *batchReader
	open        openRequests
	reportDedup reportDedup
	flow        *flow
	notes       *notes
	// polling counts the polls that are open, and reads has room for those that read where their device stands.
	polling atomic.Int64
	reads   chan struct{}
	// uncalled are whose polls are still to be woken for a roll, and calls lets so many be woken; only watch uses them.
	uncalled uncalled
	calls    *rate.Limiter
	enrolls  enrolls
	// connections counts those of each device's key, and renewed the certificates that are signed for it.
	connections *limits.Connections
	renewed     *limits.Rates
	metrics     metrics
	// ending is closed when the gateway is to end: held polls are answered then.
	ending chan struct{}
	end    sync.Once
}

// New listens; requests are answered once Run is called. It does not look at the database: where the schema is missing,
// every answer is a 503.
func New(cfg Config) (*Gateway, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("configure the gateway: %w", err)
	}
	g := &Gateway{
		cfg: cfg, ending: make(chan struct{}), metrics: newMetrics(cfg.Metrics), enrolls: newEnrolls(cfg.RequestsPerMinute),
		connections: limits.NewConnections(cfg.ConnectionsPerCertificate),
		renewed:     limits.NewRates(renewalsPerHour, time.Hour),
		flow:        newFlow(cfg.ReportsAtOnce), reads: make(chan struct{}, readsAtOnce),
		calls: rate.NewLimiter(callsPerSecond, max(1, int(callsPerSecond*cfg.WatchEvery.Seconds()))),
	}
	g.notes = &notes{write: func(ctx context.Context, reports []inventory.NoteReportInput) ([]inventory.Noted, error) {
		return cfg.Store.NoteReports(ctx, cfg.OrgID, reports)
	}}
	g.batchReader = newBatchReader(cfg.RecheckEvery,
		func(ctx context.Context, names []string) (map[string]inventory.AgentDevice, error) {
			return cfg.Store.AgentDevices(ctx, cfg.OrgID, names)
		})
	g.metrics.watchFlow(g.flow)
	var err error
	if g.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen for agents on %s: %w", cfg.Listen, err)
	}
	g.listener = limits.Listen(g.listener, cfg.ConnectionsPerAddress, g.metrics.refusals.WithLabelValues("address").Inc)
	if cfg.MetricsListen != "" {
		if g.ops, err = net.Listen("tcp", cfg.MetricsListen); err != nil {
			return nil, errors.Join(fmt.Errorf("listen for metrics and health on %s: %w", cfg.MetricsListen, err),
				g.listener.Close())
		}
	}
	return g, nil
}

// Address is where agents are served, as host:port.
func (g *Gateway) Address() string { return g.listener.Addr().String() }

// MetricsAddress is where metrics and health are served, as host:port; empty where they are not.
func (g *Gateway) MetricsAddress() string {
	if g.ops == nil {
		return ""
	}
	return g.ops.Addr().String()
}

// Run serves until ctx is done, then answers the polls that are held with 204, lets other requests finish, and returns
// nil. It is called once. It does not serve beside a live Flight Control.
func (g *Gateway) Run(ctx context.Context) error {
	// What cannot be read now is looked at again with each call.
	if p := (*problem)(nil); errors.As(g.standsAlone(ctx), &p) {
		return errors.Join(fmt.Errorf("start the gateway: %w", p), g.closeListeners())
	}
	watching, stopWatching := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	beside.Go(func() { g.watch(watching) })
	beside.Go(func() { g.storeLastSeen(watching) })
	beside.Go(func() { g.expireRequests(watching) })
	agents, ops := g.server(), &http.Server{Handler: g.opsHandler(), ReadHeaderTimeout: headerTimeout}
	failed := make(chan error, 2)
	serve := func(what string, serve func() error) {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve %s: %w", what, err)
		}
	}
	go serve("agents", func() error {
		if g.cfg.PlainHTTP {
			return agents.Serve(g.listener)
		}
		return agents.ServeTLS(g.listener, "", "")
	})
	if g.ops != nil {
		go serve("metrics and health", func() error { return ops.Serve(g.ops) })
	}
	g.cfg.Logger.Info("Gateway started", "address", g.Address(), "plainHTTP", g.cfg.PlainHTTP, "render", g.cfg.Render,
		"signs", g.cfg.CA != nil, "metrics", g.MetricsAddress())
	if g.cfg.CA == nil {
		g.cfg.Logger.Warn("No authority's key was given: approved enrollment requests are not signed here, and their " +
			"devices wait until they are signed elsewhere")
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	g.end.Do(func() { close(g.ending) })
	ending, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if shutdown := agents.Shutdown(ending); shutdown != nil {
		err = errors.Join(err, fmt.Errorf("end the gateway: %w", shutdown), agents.Close())
	}
	err = errors.Join(err, ops.Close())
	g.batchReader.stop()
	stopWatching()
	beside.Wait()
	g.cfg.Logger.Info("Gateway stopped", "address", g.Address())
	return err
}

func (g *Gateway) closeListeners() error {
	err := g.listener.Close()
	if g.ops != nil {
		err = errors.Join(err, g.ops.Close())
	}
	return err
}

func (g *Gateway) server() *http.Server {
	s := &http.Server{
		Handler:           g.withDeadline(g.withinConnections(g.handler())),
		ReadHeaderTimeout: headerTimeout, // of the TLS handshake too
		IdleTimeout:       idleTimeout,
		WriteTimeout:      g.cfg.PollFor + writeTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          serverLog(g.cfg.Logger),
		// A device has a few requests open at once; more streams than that only wait to be told so.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 4 * g.cfg.OpenPerDevice},
	}
	if !g.cfg.PlainHTTP {
		s.TLSConfig = &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{*g.cfg.Certificate},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    g.cfg.ClientCAs,
		}
	}
	g.connections.Watch(s)
	return s
}

// workflowID is that of a device's part in a roll call.
func (g *Gateway) workflowID(name string) string { return runbook.DeviceWorkflowID(g.cfg.OrgID, name) }

// standsAlone fails where the newest restore of the gateway's organisation is one beside Flight Control.
func (g *Gateway) standsAlone(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	id, err := g.cfg.Store.FlightctlRestore(ctx, g.cfg.OrgID)
	if err != nil {
		return err
	}
	if id != "" {
		p := besideFlightControl()
		p.cause = fmt.Errorf("restore %s has the mode flightctl", id)
		return p
	}
	return nil
}

// bounded is ctx for one call of the database or of Temporal.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTimeout)
}
