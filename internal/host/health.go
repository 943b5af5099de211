package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
)

// probeTimeout bounds the answer to one readiness probe.
const probeTimeout = 3 * time.Second

// health is what the probes look at.
type health struct {
	started atomic.Bool
	address atomic.Value // string
}

// MetricsAddress is where metrics and health are served, as host:port; empty until they are, or where they are not.
func (h *Host) MetricsAddress() string {
	address, _ := h.health.address.Load().(string)
	return address
}

// serve answers /healthz (the process lives), /readyz (the worker polls, the database takes writes, Temporal answers)
// and /metrics, until the returned function is called.
func (h *Host) serve() (func(), error) {
	if h.cfg.MetricsListen == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", h.cfg.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics and health on %s: %w", h.cfg.MetricsListen, err)
	}
	h.health.address.Store(listener.Addr().String())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.answerReady)
	mux.Handle("GET /metrics", h.metricsHandler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: probeTimeout}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.fail(fmt.Errorf("serve metrics and health: %w", err))
		}
	}()
	h.cfg.Logger.Info("Serving metrics and health", "address", listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		_ = server.Shutdown(ctx)
	}, nil
}

func (h *Host) answerReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	if err := h.ready(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (h *Host) ready(ctx context.Context) error {
	if !h.health.started.Load() {
		return errors.New("the worker is not polling")
	}
	if err := h.cfg.Store.CheckWritable(ctx); err != nil {
		return err
	}
	if _, err := h.cfg.Client.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Errorf("ask Temporal: %w", err)
	}
	return nil
}
