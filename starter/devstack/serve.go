// Package devstack runs everything in one folder: PostgreSQL, Temporal, the worker and the gateway, or a fake Flight
// Control in place of the gateway. It is `starter dev`.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"rollcall/internal/devenv"
	"rollcall/simulator"
	"rollcall/starter/demo"
	"rollcall/starter/printer"
)

// Options say how `starter dev` runs.
type Options struct {
	IO           printer.IO
	Dir          string
	Port, UIPort int
	GatewayPort  int
	// FlightctlFake runs a fake Flight Control in place of the gateway, on its port.
	FlightctlFake bool
	// Demo is the directory of the demo to play; empty is none. UntilDone plays it to its end.
	Demo      string
	UntilDone bool
	RestoreID string
}

// Run runs the servers until ctx ends, or plays the demo to its end on servers that are thrown away.
func (o *Options) Run(ctx context.Context) error {
	if o.UntilDone {
		return o.playToTheEnd(ctx)
	}
	return o.serve(ctx)
}

// serve runs the servers until ctx ends.
func (o *Options) serve(ctx context.Context) (err error) {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	lock, err := o.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	fmt.Fprintln(o.IO.Stderr, "starting PostgreSQL, Temporal, the worker and "+o.agentsServer())
	stack, err := start(ctx, config{
		Dir: o.Dir, Port: o.Port, UIPort: o.UIPort, GatewayPort: o.GatewayPort, FlightctlFake: o.FlightctlFake,
		Say: o.IO.Stderr,
	})
	if err != nil {
		return notStarted(ctx, err)
	}
	defer func() { err = errors.Join(err, o.shutDown(stack)) }()
	if err := o.writeEnv(stack); err != nil {
		return err
	}
	ctx, cancel := stack.context(ctx)
	defer cancel()
	if o.Demo == "" {
		err = o.explain(stack)
	} else {
		err = o.runDemo(ctx, stack, plan)
	}
	if err == nil {
		<-ctx.Done()
	}
	return interrupted(ctx, err)
}

// agentsServer is what answers the agents.
func (o *Options) agentsServer() string {
	if o.FlightctlFake {
		return "the fake Flight Control"
	}
	return "the gateway"
}

// interrupted is what the end of ctx makes of err: where a server has ended by itself that is the error, whatever it
// led to, and an operator's Ctrl-C is none.
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

// notStarted is the error of servers that did not start: where ctx has ended that is why, and what they said is beside
// the point.
func notStarted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("the servers were not started: %w", cause)
	}
	return err
}

func (o *Options) plan() (simulator.Scenario, error) {
	if o.Demo == "" {
		return simulator.Scenario{}, nil
	}
	if !filepath.IsAbs(o.Demo) {
		o.Demo = filepath.Join(o.IO.Dir, o.Demo)
	}
	return simulator.ReadScenario(filepath.Join(o.Demo, demo.ReportsFile))
}

// lock takes the directory for this process. Others may pass through it, as PostgreSQL's user must; what is in it is
// closed to them.
func (o *Options) lock() (*devenv.Lock, error) {
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("create directory for the servers: %w", err)
	}
	return devenv.LockDir(o.Dir)
}

// shutDown ends the servers in good order. A second Ctrl-C ends this process at once, and the kernel the others.
func (o *Options) shutDown(stack *stack) error {
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	fmt.Fprintln(o.IO.Stderr, "stopping "+o.agentsServer()+", the worker, Temporal and PostgreSQL")
	err := os.Remove(o.envFile())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, stack.stop())
}

func (o *Options) envFile() string { return filepath.Join(o.Dir, devenv.EnvFile) }
