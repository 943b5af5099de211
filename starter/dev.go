package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"rollcall/internal/devenv"
	"rollcall/runbook"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

// devFlags are the options of `starter dev` as its flags set them.
type devFlags struct{ devstack.Options }

func newDevCommand(streams printer.IO) *cobra.Command {
	o := &devFlags{devstack.Options{IO: streams}}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything here: PostgreSQL, Temporal with its web UI, the worker and the agents' gateway",
		Long: `Runs a private PostgreSQL and a Temporal server with its web UI, on files that survive a restart, and the
worker and the agents' gateway inside this process. Other commands in the same folder find them by themselves; for the
temporal command, psql and curl there is .rollcall/env to be sourced. Ctrl-C ends all of it.

With --flightctl-fake a Flight Control that is only played answers the agents in place of the gateway, and the worker
works beside it: it compares versions at the poll, renders, and is asked to resume, as the real one is.

With --demo the fleet of a directory is imported and restored,
and its agents come back over the gateway within about half
a minute and live until Ctrl-C. With --until-done as well the whole night is played in a directory that is thrown away:
stragglers come back, paused devices are resumed, and the exit code is 0 only if every device is accounted for.`,
		Example: `  starter dev
  starter dev --demo examples
  starter dev --demo examples --until-done
  starter dev --demo examples --flightctl-fake`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "dir", devenv.DefaultDir, "`directory` for the servers' files")
	flags.IntVar(&o.Port, "port", devenv.DefaultPort, "Temporal's `port`; where it is taken, or 0, a free one is found")
	flags.IntVar(&o.UIPort, "ui-port", devenv.DefaultUIPort,
		"the web UI's `port`; where it is taken, or 0, a free one is found")
	flags.IntVar(&o.GatewayPort, "gateway-port", devstack.DefaultGatewayPort,
		"the gateway's `port`; where it is taken, or 0, a free one is found")
	flags.BoolVar(&o.FlightctlFake, "flightctl-fake", false,
		"run a fake Flight Control in place of the gateway, on the gateway's port")
	flags.StringVar(&o.Demo, "demo", "",
		"`directory` with a fleet.yaml to restore and a reports.yaml of what its agents do then")
	flags.BoolVar(&o.UntilDone, "until-done", false, "play the demo to its end, print the tally, and exit")
	flags.StringVar(&o.RestoreID, "restore-id", "",
		"`id` of the demo's restore (default the one that runs, else demo-YYYYMMDD-HHMMSS)")
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := o.complete(cmd); err != nil {
			return err
		}
		return o.Run(ctx)
	})
	return cmd
}

func (o *devFlags) complete(cmd *cobra.Command) error {
	for _, name := range []string{"database-url", "org"} {
		if flag := cmd.Flag(name); flag != nil && flag.Changed {
			return usagef("--%s does not go with dev, which brings a database of its own", name)
		}
	}
	if min(o.Port, o.UIPort, o.GatewayPort) < 0 || max(o.Port, o.UIPort, o.GatewayPort) > 65535 {
		return usagef("a port is a number up to 65535, or 0 for any that is free")
	}
	if o.Demo == "" && (o.UntilDone || o.RestoreID != "") {
		return usagef("--until-done and --restore-id are for a demo: say which, as in --demo examples")
	}
	if o.RestoreID != "" {
		if err := runbook.CheckRestoreID(o.RestoreID); err != nil {
			return usagef("%w", err)
		}
	}
	if o.UntilDone {
		return o.completePassing(cmd)
	}
	if !filepath.IsAbs(o.Dir) {
		o.Dir = filepath.Join(o.IO.Dir, o.Dir)
	}
	return nil
}

// completePassing is complete for a run whose directory is thrown away: no port is expected to be the usual one.
func (o *devFlags) completePassing(cmd *cobra.Command) error {
	if cmd.Flag("dir").Changed {
		return usagef("--dir does not go with --until-done, which plays in a directory that is thrown away")
	}
	if !cmd.Flag("port").Changed {
		o.Port = 0
	}
	if !cmd.Flag("ui-port").Changed {
		o.UIPort = devenv.NoUI
	}
	if !cmd.Flag("gateway-port").Changed {
		o.GatewayPort = 0
	}
	return nil
}
