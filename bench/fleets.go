package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/process"
	"rollcall/simulator"
)

const (
	// comeInASecond is how many agents connect in a second where nothing else is asked for.
	comeInASecond = 500
	// tellEvery is how often it is told how agents stand.
	tellEvery = 10 * time.Second
)

// gatewaysFor is how few gateways, and processes of agents, may open a file for each agent, with a twentieth to spare.
func gatewaysFor(agents int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask how many files a process may open: %w", err)
	}
	each := int(min(limit.Max-limit.Max/20, 1<<30))
	return (agents + each - 1) / each, nil
}

// fleets are all agents: several processes of them, and the gateway of each.
type fleets struct {
	agents    int
	gateways  []*gatewayProcess
	processes []*fleetProcess
	stderr    io.Writer
}

type fleetProcess struct {
	cmd     *exec.Cmd
	summary string // its address
}

// startFleets starts the gateways and makes the agents, which do not come back yet.
func (o agentsOptions) startFleets(ctx context.Context, at site, reportsAtOnce int) (*fleets, error) {
	f := &fleets{
		agents: o.agents, gateways: make([]*gatewayProcess, o.gateways),
		processes: make([]*fleetProcess, o.gateways), stderr: o.stderr,
	}
	if !o.plain {
		fmt.Fprintf(o.stderr, "making the certificates of %d agents\n", o.agents)
	}
	var group errgroup.Group
	for i := range o.gateways {
		group.Go(func() (err error) {
			if f.gateways[i], err = at.startGateway(ctx,
				gatewayOptions{reportsAtOnce: reportsAtOnce, plain: o.plain}); err != nil {
				return err
			}
			agents := fleetOptions{
				gateway: f.gateways[i].agents, dir: at.dir, prefix: at.prefix,
				from: i * o.agents / o.gateways, to: (i + 1) * o.agents / o.gateways, every: max(1, o.every),
				comeWithin: o.comeWithin, plain: o.plain,
			}
			cmd, addresses, err := startSelf(ctx, agents.args())
			if err != nil {
				return fmt.Errorf("start agents: %w", err)
			}
			f.processes[i] = &fleetProcess{cmd: cmd, summary: addresses[0]}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

// call lets the agents come back, and returns how they stand.
func (f *fleets) call(ctx context.Context) (simulator.Summary, error) {
	return f.ask(ctx, http.MethodPost)
}

// comeBack lets the agents come back, and returns how they stand once each has had an answer.
func (f *fleets) comeBack(ctx context.Context) (simulator.Summary, error) {
	now, err := f.call(ctx)
	if err != nil {
		return now, err
	}
	told := time.Now()
	err = until(ctx, lookAtTable, func() (bool, error) {
		if now, err = f.summary(ctx); err != nil {
			return false, err
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			f.say(now)
		}
		return now.Back == int64(f.agents), nil
	})
	return now, err
}

// tell tells how the agents stand.
func (f *fleets) tell(ctx context.Context) error {
	now, err := f.summary(ctx)
	if err == nil {
		f.say(now)
	}
	return err
}

func (f *fleets) say(s simulator.Summary) {
	fmt.Fprintf(f.stderr, "%4.0f s  %d of %d agents back, %d retries, %d errors %s\n", s.Seconds, s.Back, s.Agents,
		s.Retries, s.Errors, s.LastError)
}

// summary adds up how the agents stand, as far as the bench wants to know.
func (f *fleets) summary(ctx context.Context) (simulator.Summary, error) {
	return f.ask(ctx, http.MethodGet)
}

func (f *fleets) ask(ctx context.Context, method string) (sum simulator.Summary, _ error) {
	for _, p := range f.processes {
		var one simulator.Summary
		if err := askSelf(ctx, method, p.summary, &one); err != nil {
			return sum, fmt.Errorf("ask how agents stand: %w", err)
		}
		sum.Agents += one.Agents
		sum.Back += one.Back
		sum.Polls += one.Polls
		sum.Reports += one.Reports
		sum.Retries += one.Retries
		sum.Errors += one.Errors
		sum.Seconds = max(sum.Seconds, one.Seconds)
		sum.LastError = one.LastError
	}
	return sum, nil
}

// gatewayUsage is what all gateways use.
func (f *fleets) gatewayUsage() (process.Usage, error) {
	var pids []int
	for _, g := range f.gateways {
		pids = append(pids, g.cmd.Process.Pid)
	}
	return process.UsageOf(pids...)
}

// stop ends the agents, and then their gateways.
func (f *fleets) stop() error {
	var errs []error
	for _, p := range f.processes {
		if p != nil {
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		}
	}
	for _, p := range f.processes {
		if p != nil {
			errs = append(errs, p.cmd.Wait())
		}
	}
	for _, g := range f.gateways {
		if g != nil {
			errs = append(errs, g.stop())
		}
	}
	return errors.Join(errs...)
}
