package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"rollcall/internal/devenv"
	"rollcall/simulator"
	"rollcall/starter/demo"
	"rollcall/starter/printer"
)

// playLimit is how long a demo that is played to its end may take, the start of the servers included.
const playLimit = 2 * time.Minute

// runDemo lets the demo's agents come back, says what can be done now, and shows the tally until ctx ends. The agents
// live until then: who is resumed is served, and applies it.
func (o *Options) runDemo(ctx context.Context, stack *stack, plan simulator.Scenario) error {
	d := demo.New(o.IO, o.Demo, plan, stack.demoConfig())
	if err := d.Prepare(ctx); err != nil {
		return err
	}
	if err := d.Start(ctx, o.RestoreID); err != nil {
		return err
	}
	agents, err := d.CallAgents(ctx)
	if err != nil {
		return err
	}
	defer agents()
	fmt.Fprintf(o.IO.Stderr, "the agents come back now; watch it in the web UI: %s\n", workflowsURL(stack, ""))
	done := d.ShowTally(ctx)
	err = d.Play(ctx)
	if err == nil {
		err = d.Await(ctx, d.OnlyStragglersAreAway)
	}
	done()
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		// One report that got lost is no reason to take the servers away.
		fmt.Fprintf(o.IO.Stderr, "warning: %v\n", err)
	}
	if err := o.explainDemo(ctx, stack, d); err != nil {
		return err
	}
	done = d.ShowTally(ctx)
	<-ctx.Done()
	done()
	return nil
}

// playToTheEnd plays the whole demo on servers of its own, prints the tally, and returns an error unless every device
// is accounted for.
func (o *Options) playToTheEnd(ctx context.Context) (err error) {
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
	fmt.Fprintln(o.IO.Stderr, "starting PostgreSQL, Temporal, the worker and "+o.agentsServer())
	stack, err := start(ctx, config{
		Dir: dir, Port: o.Port, UIPort: o.UIPort, GatewayPort: o.GatewayPort, FlightctlFake: o.FlightctlFake, Passing: true,
		Say: o.IO.Stderr,
	})
	if err != nil {
		return notStarted(ctx, err)
	}
	defer func() { err = errors.Join(err, stack.stop()) }()
	ctx, stop := stack.context(ctx)
	defer stop()
	if err := o.playOn(ctx, stack, plan); err != nil {
		fmt.Fprintf(o.IO.Stderr, "the worker said last:\n%s", stack.lastOfWorkerLog())
		return errors.Join(context.Cause(ctx), err)
	}
	return nil
}

func (o *Options) playOn(ctx context.Context, stack *stack, plan simulator.Scenario) error {
	d := demo.New(o.IO, o.Demo, plan, stack.demoConfig())
	if err := d.Prepare(ctx); err != nil {
		return err
	}
	if err := d.Start(ctx, o.RestoreID); err != nil {
		return err
	}
	d.Pace = demo.FastPace
	agents, err := d.CallAgents(ctx)
	if err != nil {
		return err
	}
	defer agents()
	tally, err := d.PlayToTheEnd(ctx)
	if tally.RestoreID != "" {
		err = errors.Join(err, printer.Status(o.IO.Stdout, o.IO.Now(), tally, nil))
	}
	if err != nil {
		return err
	}
	caughtUp, err := d.CaughtUp(ctx)
	if err == nil {
		_, err = fmt.Fprintf(o.IO.Stdout, "\nall %d devices are accounted for\n%s\n", len(d.Eligible), caughtUp)
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
