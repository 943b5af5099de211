// Gateway serves the agents of a fleet: their polls are how devices answer the roll call. Any number of gateways may run;
// none holds anything that an agent's next poll would not bring again.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"rollcall/devenv"
	"rollcall/gateway/agentapi"
	"rollcall/host"
	"rollcall/inventory"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the process; it returns the exit code: 0 after a graceful stop, 2 for usage, 1 for other errors.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if _, err := devenv.LoadEnv(devenv.DefaultDir); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	o, err := parse(args, stderr)
	if err == flag.ErrHelp {
		return 0
	}
	if err != nil {
		return 2
	}
	if o.showVersion {
		fmt.Fprintln(stdout, "gateway", version)
		return 0
	}
	if err := serve(ctx, o, stderr); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, o options, stderr io.Writer) error {
	logger, err := host.NewLogger(stderr, o.logFormat, o.logLevel)
	if err != nil {
		return err
	}
	cfg, err := o.config()
	if err != nil {
		return err
	}
	url, err := host.DatabaseURL()
	if err != nil {
		return err
	}
	store, err := inventory.Open(ctx, url)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}
	if cfg.OrgID, err = store.ResolveOrg(ctx, o.org); err != nil {
		return err
	}
	metrics, err := host.NewMetrics()
	if err != nil {
		return err
	}
	// Without Temporal it serves all devices that no roll call waits for, and tells the others to come again.
	c, err := host.Dial(ctx, host.DialOptions{Logger: logger, Metrics: metrics.ForTemporal(logger), Lazy: true})
	if err != nil {
		return err
	}
	defer c.Close()
	cfg.Store, cfg.Temporal, cfg.Logger, cfg.Metrics = store, c, logger, metrics.Registry()
	cfg.Starter, cfg.TaskQueue = c, host.TaskQueue()
	g, err := agentapi.New(cfg)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}
