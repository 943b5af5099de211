// Worker is Rollcall's process for production: it carries the workflows and activities of every restore. Any number of
// them may run; none holds anything that another could not take over.
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

// options are the worker's flags; each has an environment variable as its default.
type options struct {
	taskQueue, metricsListen, logFormat, logLevel string
	skipSearchAttributes, showVersion             bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.taskQueue, "task-queue", host.TaskQueue(), "task queue to poll (ROLLCALL_TASK_QUEUE)")
	flags.StringVar(&o.metricsListen, "metrics-listen", os.Getenv("ROLLCALL_METRICS_LISTEN"), "address for /metrics, /healthz and /readyz, such as :9090; empty serves none (ROLLCALL_METRICS_LISTEN)")
	flags.StringVar(&o.logFormat, "log-format", os.Getenv("ROLLCALL_LOG_FORMAT"), "text or json (ROLLCALL_LOG_FORMAT)")
	flags.StringVar(&o.logLevel, "log-level", os.Getenv("ROLLCALL_LOG_LEVEL"), "debug, info, warn or error (ROLLCALL_LOG_LEVEL)")
	flags.BoolVar(&o.skipSearchAttributes, "skip-search-attributes", false, "do not register search attributes; somebody else has")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("worker takes no arguments, but got %q; see worker -h", flags.Args())
		fmt.Fprintln(stderr, "error:", err)
		return o, err
	}
	return o, nil
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
		fmt.Fprintln(stdout, "worker", version)
		return 0
	}
	if err := work(ctx, o, stderr); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

func work(ctx context.Context, o options, stderr io.Writer) error {
	logger, err := host.NewLogger(stderr, o.logFormat, o.logLevel)
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
	metrics, err := host.NewMetrics()
	if err != nil {
		return err
	}
	c, err := host.Dial(ctx, host.DialOptions{Logger: logger, Metrics: metrics.ForTemporal(logger)})
	if err != nil {
		return err
	}
	defer c.Close()
	namespace, err := host.Namespace()
	if err != nil {
		return err
	}
	h, err := host.New(ctx, host.Config{
		Client: c, Store: store, Namespace: namespace, TaskQueue: o.taskQueue, Logger: logger,
		MetricsListen: o.metricsListen, Metrics: metrics, SkipSearchAttributes: o.skipSearchAttributes,
	})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}
