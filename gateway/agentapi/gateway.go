package agentapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Gateway serves the agents of one organisation.
type Gateway struct {
	cfg      Config
	listener net.Listener
	ops      net.Listener
	waits    waiters
	looks    *looks
	open     openRequests
	courier  courier
	flow     *flow
	calling  *calling
	// uncalled are whose polls are still to be woken for a roll; only watch uses it.
	uncalled uncalled
	enrolls  enrolls
	metrics  metrics
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
	g := &Gateway{cfg: cfg, ending: make(chan struct{}), metrics: newMetrics(cfg.Metrics), enrolls: newEnrolls(), flow: newFlow(cfg.ReportsAtOnce), calling: newCalling(cfg.Querier)}
	g.looks = newLooks(cfg.RecheckEvery, func(ctx context.Context, names []string) (map[string]inventory.AgentDevice, error) {
		return cfg.Store.AgentDevices(ctx, cfg.OrgID, names)
	})
	g.metrics.watchFlow(g.flow)
	var err error
	if g.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen for agents on %s: %w", cfg.Listen, err)
	}
	if cfg.MetricsListen != "" {
		if g.ops, err = net.Listen("tcp", cfg.MetricsListen); err != nil {
			return nil, errors.Join(fmt.Errorf("listen for metrics and health on %s: %w", cfg.MetricsListen, err), g.listener.Close())
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
// nil. It is called once.
func (g *Gateway) Run(ctx context.Context) error {
	watching, stopWatching := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() { defer close(watched); g.watch(watching) }()
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
	g.cfg.Logger.Info("Gateway started", "address", g.Address(), "plainHTTP", g.cfg.PlainHTTP, "render", g.cfg.Render, "signs", g.cfg.CA != nil, "metrics", g.MetricsAddress())
	if g.cfg.CA == nil {
		g.cfg.Logger.Warn("No authority's key was given: approved enrollment requests are not signed here, and their devices wait until they are signed elsewhere")
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
	g.looks.stop()
	stopWatching()
	<-watched
	g.cfg.Logger.Info("Gateway stopped", "address", g.Address())
	return err
}

func (g *Gateway) server() *http.Server {
	s := &http.Server{
		Handler:           g.handler(),
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
	return s
}

// workflowID is that of a device's part in a roll call.
func (g *Gateway) workflowID(name string) string { return runbook.DeviceWorkflowID(g.cfg.OrgID, name) }

// bounded is ctx for one call of the database or of Temporal.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTimeout)
}
