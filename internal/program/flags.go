package program

import (
	"flag"
	"fmt"
	"io"
	"os"
)

// options are the common flags; where a flag names an environment variable, that is its default.
type options struct {
	metricsListen, logFormat, logLevel string
	showVersion, healthcheck           bool
}

// Flags returns the flags of the program, its own and the common ones.
func (p Program) Flags() *flag.FlagSet { return p.flags(&options{}) }

func (p Program) flags(o *options) *flag.FlagSet {
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	if p.Bind != nil {
		p.Bind(flags)
	}
	flags.StringVar(&o.metricsListen, "metrics-listen", os.Getenv("ROLLCALL_METRICS_LISTEN"),
		"address for /metrics, /healthz and /readyz, such as :9090; empty serves none (ROLLCALL_METRICS_LISTEN)")
	flags.StringVar(&o.logFormat, "log-format", os.Getenv("ROLLCALL_LOG_FORMAT"), "text or json (ROLLCALL_LOG_FORMAT)")
	flags.StringVar(&o.logLevel, "log-level", os.Getenv("ROLLCALL_LOG_LEVEL"),
		"debug, info, warn or error (ROLLCALL_LOG_LEVEL)")
	flags.BoolVar(&o.healthcheck, "healthcheck", false,
		"ask a running "+p.Name+" on this machine at /readyz of --metrics-listen, and exit 0 if it is ready")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	return flags
}

func (p Program) parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := p.flags(&o)
	flags.SetOutput(stderr)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("%s takes no arguments, but got %q; see %s -h", p.Name, flags.Args(), p.Name)
		fmt.Fprintln(stderr, "error:", err)
		return o, err
	}
	return o, nil
}
