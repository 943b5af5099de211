// Gateway serves the agents of a fleet: their polls are how devices answer the roll call. Any number of gateways may
// run; none holds anything that an agent's next poll would not bring again.
package main

import (
	"context"

	"rollcall/gateway/agentapi"
	"rollcall/internal/host"
	"rollcall/internal/program"
)

const long = `The gateway answers the agents of a fleet over mutual TLS: their polls are how devices answer
the roll call. Any number of gateways may run; none holds state. It is not needed where Flight Control's own server
answers the agents. SIGTERM ends held polls with 204.

PostgreSQL is found through ROLLCALL_DATABASE_URL, or through the file that ROLLCALL_DATABASE_URL_FILE names; Temporal
through the variables and profiles of the temporal command (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
TEMPORAL_PROFILE and so on), and TEMPORAL_API_KEY_FILE.`

func main() { newProgram().Main() }

func newProgram() program.Program {
	var o options
	return program.Program{
		Name: "gateway", Short: "answers the agents of a fleet during a roll call", Long: long, Bind: o.bind, Run: o.serve,
	}
}

func (o *options) serve(ctx context.Context, p program.Common) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	// Without Temporal it serves all devices that no roll call waits for, and notes what those say whose workflows are not
	// there yet.
	connections, err := p.Connect(ctx, true)
	if err != nil {
		return err
	}
	defer connections.Close()
	store := connections.Store
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}
	if cfg.OrgID, err = store.ResolveOrg(ctx, o.org); err != nil {
		return err
	}
	cfg.Store, cfg.Temporal, cfg.Starter = store, connections.Temporal, connections.Temporal
	cfg.Logger, cfg.MetricsListen, cfg.Metrics = p.Logger, p.MetricsListen, connections.Metrics.Registry()
	cfg.TaskQueue = host.TaskQueue()
	g, err := agentapi.New(cfg)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}
