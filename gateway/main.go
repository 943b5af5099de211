// Gateway serves the agents of a fleet: their polls are how devices answer the roll call. Any number of gateways may
// run; none holds anything that an agent's next poll would not bring again.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"rollcall/gateway/agentapi"
	"rollcall/internal/host"
	"rollcall/internal/program"
)

const long = `The gateway answers the agents of a fleet over mutual TLS: their polls are how devices answer
the roll call. Any number of gateways may run; none holds state. It refuses to run beside a live Flight Control, whose
own server answers the agents: where a variable ROLLCALL_FLIGHTCTL_… is set, or where the newest restore of its
organisation has the mode flightctl. SIGTERM ends held polls with 204.

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

// beside is what the variables begin with that say where a live Flight Control is. A worker needs them.
const beside = "ROLLCALL_FLIGHTCTL_"

// standsAlone fails where environ names a live Flight Control: its own server answers the agents, and this gateway
// would be a second writer.
func standsAlone(environ []string) error {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, beside) && value != "" {
			return fmt.Errorf("%s is set, so a live Flight Control answers the agents: run no gateway beside it, or unset the "+
				"variable where none runs", name)
		}
	}
	return nil
}

func (o *options) serve(ctx context.Context, p program.Common) error {
	if err := standsAlone(os.Environ()); err != nil {
		return err
	}
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
