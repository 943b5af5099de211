package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"rollcall/devenv"
)

// playLimit is how long a demo that is played to its end may take, the start of the servers included.
const playLimit = 2 * time.Minute

// runDemo lets the demo's agents come back, says what can be done now, and shows the tally until ctx ends. The agents live
// until then: who is resumed is served, and applies it.
func (o *devOptions) runDemo(ctx context.Context, stack *devStack, plan demoPlan) error {
	d := newDemo(o.io, o.demo, plan, stack)
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.start(ctx, o.restoreID); err != nil {
		return err
	}
	agents, err := d.callAgents(ctx)
	if err != nil {
		return err
	}
	defer agents()
	fmt.Fprintf(o.io.Stderr, "the agents come back now; watch it in the web UI: %s\n", workflowsURL(stack, ""))
	done := d.showTally(ctx)
	err = d.play(ctx)
	if err == nil {
		err = d.await(ctx, d.onlyStragglersAreAway)
	}
	done()
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		// One report that got lost is no reason to take the servers away.
		fmt.Fprintf(o.io.Stderr, "warning: %v\n", err)
	}
	if err := o.explainDemo(ctx, stack, d); err != nil {
		return err
	}
	done = d.showTally(ctx)
	<-ctx.Done()
	done()
	return nil
}

// completePassing is complete for a run whose directory is thrown away: no port is expected to be the usual one.
func (o *devOptions) completePassing(cmd *cobra.Command) error {
	if cmd.Flag("dir").Changed {
		return usagef("--dir does not go with --until-done, which plays in a directory that is thrown away")
	}
	if !cmd.Flag("port").Changed {
		o.port = 0
	}
	if !cmd.Flag("ui-port").Changed {
		o.uiPort = devenv.NoUI
	}
	if !cmd.Flag("gateway-port").Changed {
		o.gatewayPort = 0
	}
	return nil
}

// playToTheEnd plays the whole demo on servers of its own, prints the tally, and returns an error unless every device is
// accounted for.
func (o *devOptions) playToTheEnd(ctx context.Context) (err error) {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	dir, remove, err := passingDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, playLimit, fmt.Errorf("the demo has not ended within %s", playLimit))
	defer cancel()
	fmt.Fprintln(o.io.Stderr, "starting PostgreSQL, Temporal, the worker and the gateway")
	stack, err := startDevStack(ctx, devConfig{Dir: dir, Port: o.port, UIPort: o.uiPort, GatewayPort: o.gatewayPort, Passing: true})
	if err != nil {
		return notStarted(ctx, err)
	}
	defer func() { err = errors.Join(err, stack.stop()) }()
	ctx, stop := stack.context(ctx)
	defer stop()
	if err := o.playOn(ctx, stack, plan); err != nil {
		fmt.Fprintf(o.io.Stderr, "the worker said last:\n%s", stack.lastOfWorkerLog())
		return errors.Join(context.Cause(ctx), err)
	}
	return nil
}

func (o *devOptions) playOn(ctx context.Context, stack *devStack, plan demoPlan) error {
	d := newDemo(o.io, o.demo, plan, stack)
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.start(ctx, o.restoreID); err != nil {
		return err
	}
	d.pace = hurry
	agents, err := d.callAgents(ctx)
	if err != nil {
		return err
	}
	defer agents()
	tally, err := d.playToTheEnd(ctx)
	if tally.RestoreID != "" {
		err = errors.Join(err, printStatus(o.io.Stdout, o.io.Now(), tally, nil))
	}
	if err != nil {
		return err
	}
	caughtUp, err := d.caughtUp(ctx)
	if err == nil {
		_, err = fmt.Fprintf(o.io.Stdout, "\nall %d devices are accounted for\n%s\n", len(d.eligible), caughtUp)
	}
	return err
}

// passingDir makes a directory that is gone when remove was called, or when this process has ended, however it ended.
func passingDir() (dir string, remove func() error, err error) {
	if dir, err = os.MkdirTemp("", "rollcall-demo-"); err != nil {
		return "", nil, fmt.Errorf("create a directory for the demo: %w", err)
	}
	// PostgreSQL's user must be able to pass through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", nil, fmt.Errorf("create a directory for the demo: %w", err)
	}
	// A server that is still ending writes to it for a moment.
	removal, err := devenv.OnExit(`for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" && exit 0; sleep 1; done`, dir)
	if err != nil {
		return "", nil, err
	}
	return dir, removal.Close, nil
}
