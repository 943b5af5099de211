package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"go.temporal.io/sdk/client"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/gateway/agentapi"
	"rollcall/internal/devenv"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/starter/demo"
)

// config says where and how the servers of `starter dev` run.
type config struct {
	// Dir holds their files and logs.
	Dir string
	// Port and UIPort are Temporal's, as devenv takes them.
	Port, UIPort int
	// GatewayPort is the gateway's; where it is taken, or 0, a free one is found.
	GatewayPort int
	// FlightctlFake runs a fake Flight Control in place of the gateway, on the gateway's port.
	FlightctlFake bool
	// Passing is for servers whose data no one wants afterwards: it trades keeping it for speed.
	Passing bool
	// Say takes what people are told while the servers run.
	Say io.Writer
}

// stack is everything that `starter dev` runs: PostgreSQL and Temporal as child processes, and the worker and the
// gateway, or a fake Flight Control, inside.
type stack struct {
	cfg      config
	queue    string
	postgres *devenv.Postgres
	temporal *devenv.Temporal
	// store has the rights of a person who decides, and owner all. working and serving are the worker's and the gateway's.
	store, owner, working, serving *inventory.Store
	client                         client.Client
	gateway                        *agentapi.Gateway
	// flightctl is the fake Flight Control, and beside the worker's client of it; nil where the gateway runs.
	flightctl *fake.FlightControl
	beside    *flightctl.Client
	// workerLog takes what the worker, the gateway and the Temporal client say.
	workerLog *slog.Logger
	// ended receives why the stack can go on no more, when a part of it ends that no one asked to.
	ended chan error
	// stops end the parts, in the order in which they were started.
	stops []func() error
}

// partEnded says that a part of the stack has ended that no one asked to.
type partEnded struct {
	part string
	logs string
	// err is what the part said; nil where it is a process, whose words are in its log.
	err error
}

// Error names the part and where it logs.
func (e *partEnded) Error() string {
	if e.err == nil {
		return fmt.Sprintf("%s has ended by itself; its log is in %s", e.part, e.logs)
	}
	return fmt.Sprintf("%s has ended by itself: %v; its log is in %s", e.part, e.err, e.logs)
}

// Unwrap is what the part said.
func (e *partEnded) Unwrap() error { return e.err }

// start starts the servers, brings the schema up to date and starts the worker and the gateway, or a fake Flight
// Control and the worker. Where a part fails, what was started before it is ended, and the error holds the last words
// of the one that failed.
func start(ctx context.Context, cfg config) (*stack, error) {
	s := &stack{cfg: cfg, queue: host.TaskQueue(), ended: make(chan error, 4)}
	steps := []func(context.Context) error{s.startServers, s.connect, s.startFlightctl, s.startWorker, s.startGateway}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, nil
}

// stop ends the parts in the reverse order of their start: the gateway, the worker, then Temporal, then PostgreSQL. It
// may be called again.
func (s *stack) stop() error {
	var errs []error
	for _, stop := range slices.Backward(s.stops) {
		errs = append(errs, stop())
	}
	s.stops = nil
	return errors.Join(errs...)
}

func (s *stack) onStop(stop func() error) { s.stops = append(s.stops, stop) }

// watch tells when a part ends. Where stop ended it, no one listens any more.
func (s *stack) watch(part string, done <-chan struct{}) {
	<-done
	s.ended <- &partEnded{part: part, logs: s.logDir()}
}

// context is ctx, cancelled as well when a part of the stack ends by itself; that is then its cause.
func (s *stack) context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case err := <-s.ended:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// demoConfig is what a demo needs of the stack.
func (s *stack) demoConfig() demo.Config {
	return demo.Config{
		Store: s.store, Owner: s.owner, Client: s.client, Queue: s.queue, Gateway: s.gatewayURL(), Beside: s.flightctl != nil,
		CACert: s.caCert(), CAKey: s.caKey(),
	}
}
