package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

// gatewayOptions say how a gateway process of the bench is run.
type gatewayOptions struct {
	address, database, dir string
	pollFor                time.Duration
	reportsAtOnce          int
	plain                  bool
}

// newGatewayCommand is one gateway process, and beside it a handler that does nothing but read one row.
func newGatewayCommand() *cobra.Command {
	var o gatewayOptions
	cmd := &cobra.Command{
		Use: "gateway", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(untilLeft(cmd.Context())) },
	}
	cmd.Flags().StringVar(&o.address, "address", "", "Temporal's host:port")
	cmd.Flags().StringVar(&o.database, "database", "", "URL of the inventory")
	cmd.Flags().StringVar(&o.dir, "dir", "", "directory of the authority")
	cmd.Flags().DurationVar(&o.pollFor, "poll-for", 0, "how long a poll is held")
	cmd.Flags().IntVar(&o.reportsAtOnce, "reports-at-once", 0, "how many reports may be under way")
	cmd.Flags().BoolVar(&o.plain, "plain", false, "serve agents without TLS")
	return cmd
}

func (o gatewayOptions) args() []string {
	return []string{
		"gateway", "--address", o.address, "--database", o.database, "--dir", o.dir,
		"--poll-for", o.pollFor.String(), "--reports-at-once", fmt.Sprint(o.reportsAtOnce),
		"--plain=" + strconv.FormatBool(o.plain),
	}
}

// openAuthority is the one that the bench's agents and gateways trust.
func openAuthority(dir string) (*authority.CA, error) {
	return authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
}

func (o gatewayOptions) run(ctx context.Context) error {
	store, err := inventory.Open(ctx, o.database)
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := client.DialContext(ctx, client.Options{HostPort: o.address, Logger: quiet{}})
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	defer c.Close()
	ca, err := openAuthority(o.dir)
	if err != nil {
		return err
	}
	pair, err := ca.Server([]string{"127.0.0.1"}, 24*time.Hour)
	if err != nil {
		return err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return err
	}
	cfg := agentapi.Config{
		Store: store, Temporal: c, Logger: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0",
		PollFor: o.pollFor, ReportsAtOnce: o.reportsAtOnce, OpenPerDevice: 100,
	}
	if cfg.PlainHTTP = o.plain; !o.plain {
		cfg.Certificate, cfg.ClientCAs = &certificate, ca.Pool()
	}
	g, err := agentapi.New(cfg)
	if err != nil {
		return err
	}
	bare, err := serveOneRow(ctx, store, &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
	if err != nil {
		return err
	}
	defer bare.Close()
	if err := sayReady(g.Address(), bare.Addr().String()); err != nil {
		return err
	}
	return g.Run(ctx)
}

// serveOneRow is the floor of a gateway: the same connections, and one row read by its primary key.
func serveOneRow(ctx context.Context, store *inventory.Store, config *tls.Config) (net.Listener, error) {
	oneRow, err := store.DB().PreparexContext(ctx, `select generation from devices where org_id = $1 and name = $2`)
	if err != nil {
		return nil, fmt.Errorf("prepare the floor's read: %w", err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return nil, fmt.Errorf("listen for the floor: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var generation int64
			if err := oneRow.GetContext(r.Context(), &generation, runbook.DefaultOrgID, r.PathValue("name")); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}),
	}
	mux := http.NewServeMux()
	mux.Handle("GET /api/v1/devices/{name}/rendered", server.Handler)
	server.Handler = mux
	go server.Serve(listener) //nolint:errcheck // ends with the process
	return listener, nil
}

// sayReady tells whoever started this process, on the file that it was given, where it listens.
func sayReady(addresses ...any) error {
	ready := os.NewFile(readyFile, "ready")
	if _, err := fmt.Fprintln(ready, addresses...); err != nil {
		return fmt.Errorf("say that the process is ready: %w", err)
	}
	return ready.Close()
}
