package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/flightctl"
	"rollcall/internal/host"
	"rollcall/internal/preflight"
	"rollcall/inventory"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

type checkOptions struct {
	*globals
	output    *printer.Format
	oldURL    string
	roles     []string
	addresses []string
}

func newCheckCommand(g *globals) *cobra.Command {
	o := &checkOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look whether everything that a roll call needs is there, and say what to do",
		Long: `Looks at the database, the mode, Temporal, the gateway, and where ROLLCALL_FLIGHTCTL_... names one, the live
Flight Control with its key-value store: reachable, version, rights,
and what to do. It changes nothing. It warns of clients of the
database that are neither ours nor the restored Flight Control, and of the lost control plane where that still answers.
The exit code is 1 if a roll call would stop at something; warnings leave it 0.`,
		Example: `  starter check
  starter check --old-url https://api.lost.example.com:3443
  starter check -o json`,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return g.refuseOrg(cmd) },
		RunE:    run(func(ctx context.Context, _ []string) error { return o.run(ctx) }),
	}
	cmd.Flags().StringVar(&o.oldURL, "old-url", "", "`URL` where the lost control plane answered; warns if it still does")
	cmd.Flags().StringSliceVar(&o.roles, "flightctl-role", preflight.DefaultFlightctlRoles(),
		"database `roles` of the restored Flight Control's servers")
	cmd.Flags().StringSliceVar(&o.addresses, "flightctl-address", nil,
		"their `addresses`, as PostgreSQL shows them; others of that role are warned of")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	return cmd
}

// errCheckFailed is the failure of a check whose findings were printed.
var errCheckFailed = errors.New("a roll call would stop at what is marked as failed")

func (o *checkOptions) run(ctx context.Context) error {
	options, closeAll := o.options(ctx)
	defer closeAll()
	report := preflight.Run(ctx, options)
	err := o.output.Print(o.io.Stdout, report, func(w io.Writer) error { return printReport(w, report) })
	if err == nil && report.Failed() {
		err = errCheckFailed
	}
	return err
}

// options connects to what there is. What is not there is a finding, and no error.
func (o *checkOptions) options(ctx context.Context) (options preflight.Options, closeAll func()) {
	options = preflight.Options{
		TaskQueue: o.queue(), OldURL: o.oldURL, FlightctlRoles: o.roles, FlightctlAddresses: o.addresses,
	}
	options.Store, options.StoreError = o.openUnchecked(ctx)
	options.Temporal, options.TemporalError = o.dial(ctx)
	var err error
	if options.Namespace, err = host.Namespace(); err != nil && options.TemporalError == nil {
		options.TemporalError = err
	}
	cfg, configured, err := flightctl.LoadConfig(o.io.Env)
	if configured && err == nil {
		options.Flightctl, err = flightctl.Open(cfg)
	}
	options.FlightctlError = err
	options.GatewayURL, _ = o.io.Env(devstack.EnvGatewayURL)
	options.GatewayCA, _ = o.io.Env(devstack.EnvCACert)
	return options, func() {
		if options.Store != nil {
			_ = options.Store.Close()
		}
		if options.Temporal != nil {
			options.Temporal.Close()
		}
		if options.Flightctl != nil {
			_ = options.Flightctl.Close()
		}
	}
}

// openUnchecked connects to the database, whatever its schema is.
func (o *checkOptions) openUnchecked(ctx context.Context) (*inventory.Store, error) {
	url, err := o.database()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return inventory.Open(ctx, url)
}

func printReport(w io.Writer, report preflight.Report) error {
	fmt.Fprintf(w, "mode %s\n\n", report.Mode)
	rows := make([][]string, len(report.Findings))
	for i, f := range report.Findings {
		text := f.Text
		if f.Version != "" {
			text += " (" + f.Version + ")"
		}
		rows[i] = []string{strings.ToUpper(string(f.Level)), f.Subject, text}
	}
	if err := printer.Table(w, []string{"LEVEL", "WHAT", "FOUND"}, rows); err != nil {
		return err
	}
	return printAdvice(w, report)
}

func printAdvice(w io.Writer, report preflight.Report) error {
	said := map[string]bool{}
	for _, f := range report.Findings {
		if f.Level == flightctl.OK || f.Advice == "" || said[f.Subject+f.Advice] {
			continue
		}
		if len(said) == 0 {
			fmt.Fprintln(w, "\nwhat to do:")
		}
		said[f.Subject+f.Advice] = true
		fmt.Fprintf(w, "  %s: %s\n", f.Subject, printer.OneLine(f.Advice))
	}
	return nil
}
