package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"rollcall/devenv"
	"rollcall/runbook"
)

type devOptions struct {
	io           IO
	dir          string
	port, uiPort int
	gatewayPort  int
	demo         string
	untilDone    bool
	restoreID    string
}

func newDevCommand(streams IO) *cobra.Command {
	o := &devOptions{io: streams}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything here: PostgreSQL, Temporal with its web UI, the worker and the agents' gateway",
		Long: `Runs a private PostgreSQL and a Temporal server with its web UI, on files that survive a restart, and the worker and
the agents' gateway inside this process. Other commands in the same folder find them by themselves; for the temporal
command, psql and curl there is .rollcall/env to be sourced. Ctrl-C ends all of it.

With --demo the fleet of a directory is imported and restored, and its agents come back over the gateway within about half
a minute and live until Ctrl-C. With --until-done as well the whole night is played in a directory that is thrown away:
stragglers come back, paused devices are resumed, and the exit code is 0 only if every device is accounted for.`,
		Example: `  starter dev
  starter dev --demo examples
  starter dev --demo examples --until-done`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", devenv.DefaultDir, "`directory` for the servers' files")
	flags.IntVar(&o.port, "port", devenv.DefaultPort, "Temporal's `port`; where it is taken, or 0, a free one is found")
	flags.IntVar(&o.uiPort, "ui-port", devenv.DefaultUIPort, "the web UI's `port`; where it is taken, or 0, a free one is found")
	flags.IntVar(&o.gatewayPort, "gateway-port", defaultGatewayPort, "the gateway's `port`; where it is taken, or 0, a free one is found")
	flags.StringVar(&o.demo, "demo", "", "`directory` with a fleet.yaml to restore and a reports.yaml of what its agents do then")
	flags.BoolVar(&o.untilDone, "until-done", false, "play the demo to its end, print the tally, and exit")
	flags.StringVar(&o.restoreID, "restore-id", "", "`id` of the demo's restore (default the one that runs, else demo-YYYYMMDD-HHMMSS)")
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := o.complete(cmd); err != nil {
			return err
		}
		if o.untilDone {
			return o.playToTheEnd(ctx)
		}
		return o.serve(ctx)
	})
	return cmd
}

func (o *devOptions) complete(cmd *cobra.Command) error {
	for _, name := range []string{"database-url", "org"} {
		if flag := cmd.Flag(name); flag != nil && flag.Changed {
			return usagef("--%s does not go with dev, which brings a database of its own", name)
		}
	}
	if min(o.port, o.uiPort, o.gatewayPort) < 0 || max(o.port, o.uiPort, o.gatewayPort) > 65535 {
		return usagef("a port is a number up to 65535, or 0 for any that is free")
	}
	if o.demo == "" && (o.untilDone || o.restoreID != "") {
		return usagef("--until-done and --restore-id are for a demo: say which, as in --demo examples")
	}
	if o.restoreID != "" {
		if err := runbook.CheckRestoreID(o.restoreID); err != nil {
			return usagef("%w", err)
		}
	}
	if o.untilDone {
		return o.completePassing(cmd)
	}
	if !filepath.IsAbs(o.dir) {
		o.dir = filepath.Join(o.io.Dir, o.dir)
	}
	return nil
}

// serve runs the servers until ctx ends.
func (o *devOptions) serve(ctx context.Context) (err error) {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	lock, err := o.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	fmt.Fprintln(o.io.Stderr, "starting PostgreSQL, Temporal, the worker and the gateway")
	stack, err := startDevStack(ctx, devConfig{Dir: o.dir, Port: o.port, UIPort: o.uiPort, GatewayPort: o.gatewayPort})
	if err != nil {
		return notStarted(ctx, err)
	}
	defer func() { err = errors.Join(err, o.shutDown(stack)) }()
	if err := o.writeEnv(stack); err != nil {
		return err
	}
	ctx, cancel := stack.context(ctx)
	defer cancel()
	if o.demo == "" {
		err = o.explain(stack)
	} else {
		err = o.runDemo(ctx, stack, plan)
	}
	if err == nil {
		<-ctx.Done()
	}
	return interrupted(ctx, err)
}

// interrupted is what the end of ctx makes of err: where a server has ended by itself that is the error, whatever it led
// to, and an operator's Ctrl-C is none.
func interrupted(ctx context.Context, err error) error {
	var ended *partEnded
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &ended):
		return ended
	case cause != nil:
		return nil
	}
	return err
}

// notStarted is the error of servers that did not start: where ctx has ended that is why, and what they said is beside the
// point.
func notStarted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("the servers were not started: %w", cause)
	}
	return err
}

func (o *devOptions) plan() (demoPlan, error) {
	if o.demo == "" {
		return demoPlan{}, nil
	}
	if !filepath.IsAbs(o.demo) {
		o.demo = filepath.Join(o.io.Dir, o.demo)
	}
	return loadDemoPlan(o.demo)
}

// lock takes the directory for this process. Others may pass through it, as PostgreSQL's user must; what is in it is
// closed to them.
func (o *devOptions) lock() (*devenv.Lock, error) {
	if err := os.MkdirAll(o.dir, 0o711); err != nil {
		return nil, fmt.Errorf("create directory for the servers: %w", err)
	}
	return devenv.LockDir(o.dir)
}

// shutDown ends the servers in good order. A second Ctrl-C ends this process at once, and the kernel the others.
func (o *devOptions) shutDown(stack *devStack) error {
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	fmt.Fprintln(o.io.Stderr, "stopping the gateway, the worker, Temporal and PostgreSQL")
	err := os.Remove(o.envFile())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, stack.stop())
}

func (o *devOptions) envFile() string { return filepath.Join(o.dir, devenv.EnvFile) }
