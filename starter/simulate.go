package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/inventory/selector"
	"rollcall/runbook"
	"rollcall/simulator"
	"rollcall/starter/demo"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

type simulateOptions struct {
	*globals
	output                           *printer.Format
	gateway, caCert, caKey, scenario string
	devices                          int
	seed                             uint64
	lasts                            time.Duration
	untilAnswered, brisk, verbose    bool
}

func newSimulateCommand(g *globals) *cobra.Command {
	o := &simulateOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Be the agents of a fleet that comes back, over the gateway",
		Long: `Runs agents as real HTTP clients with certificates of their own, which do what those of Flight Control do: they
poll the gateway, report what they run, apply what they are served, fail at it, reboot, lose their connection,
and enroll again where
the service does not know them. Names and restored versions are read from the database,
in the order of the names; agents
beyond those enroll, and wait for your approval. The certificates are signed by the authority that you name; in the
folder of
a running "starter dev" it, the gateway and the database are found.

A scenario file says how many are ahead, equal, behind, never deployed or never back, when they come back, and how they
behave; examples/README.md describes it. Without one it is a little of everything within half a minute. The same seed,
scenario and devices make the same decisions.

Ends with --for, with --until-answered, or with Ctrl-C, and prints what the agents did.`,
		Example: `  starter simulate
  starter simulate --devices 40 --seed 7 --until-answered
  starter simulate --scenario scenario.yaml --for 5m -o json
  starter simulate --devices 1000 --gateway https://127.0.0.1:7443 --ca-cert ca.crt --ca-key ca.key`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.IntVar(&o.devices, "devices", 0, "`number` of agents (default one for each device in the database)")
	flags.StringVar(&o.gateway, "gateway", "", "`URL` of the gateway (default $"+devstack.EnvGatewayURL+")")
	flags.StringVar(&o.caCert, "ca-cert", "",
		"PEM `file` of the authority's certificate (default $"+devstack.EnvCACert+")")
	flags.StringVar(&o.caKey, "ca-key", "", "PEM `file` of its key (default $"+devstack.EnvCAKey+")")
	flags.Uint64Var(&o.seed, "seed", 1, "`number` that chance is drawn from")
	flags.StringVar(&o.scenario, "scenario", "", "YAML `file` that says what the agents do")
	flags.DurationVar(&o.lasts, "for", 0, "end after this `time` (default only with Ctrl-C)")
	flags.BoolVar(&o.untilAnswered, "until-answered", false,
		"end when no device that has come back awaits its reconnect any more")
	flags.BoolVar(&o.brisk, "brisk", false,
		"agents wait a second or two where Flight Control's wait for longer, as in a demo")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "write each agent's decisions to stderr")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, _ []string) error { return o.run(ctx, cmd) })
	return cmd
}

func (o *simulateOptions) validate(cmd *cobra.Command) error {
	switch {
	case o.devices < 0, o.devices == 0 && cmd.Flags().Changed("devices"):
		return usagef("--devices %d: an agent is needed at least", o.devices)
	case o.lasts < 0, o.lasts == 0 && cmd.Flags().Changed("for"):
		return usagef("--for %s: it must last for some time", o.lasts)
	}
	if o.gateway != "" {
		if _, err := simulator.CheckGateway(o.gateway); err != nil {
			return usagef("--gateway: %w", err)
		}
	}
	return nil
}

func (o *simulateOptions) run(ctx context.Context, cmd *cobra.Command) error {
	if err := o.validate(cmd); err != nil {
		return err
	}
	cfg, err := o.config()
	if err != nil {
		return err
	}
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := o.equip(ctx, store, orgID, &cfg); err != nil {
		return err
	}
	fleet, err := simulator.New(ctx, cfg)
	if err != nil {
		return err
	}
	if err := fleet.Reach(ctx); err != nil {
		return err
	}
	return o.live(ctx, store, orgID, fleet)
}

// config is all that can be said without the database.
func (o *simulateOptions) config() (simulator.Config, error) {
	cfg := simulator.Config{Scenario: simulator.DefaultScenario(), Seed: o.seed}
	if o.brisk {
		cfg.Timing = simulator.BriskTiming()
	}
	if o.scenario != "" {
		var err error
		if cfg.Scenario, err = simulator.ReadScenario(o.here(o.scenario)); err != nil {
			return cfg, err
		}
	}
	signing := &certOptions{globals: o.globals, caCert: o.caCert, caKey: o.caKey}
	var err error
	if cfg.CA, err = signing.authority(); err != nil {
		return cfg, err
	}
	if cfg.Gateway = o.gateway; cfg.Gateway == "" {
		cfg.Gateway, _ = o.io.Env(devstack.EnvGatewayURL)
	}
	if cfg.Gateway == "" {
		return cfg,
			fmt.Errorf("no gateway is known: set --gateway (or %s), or run the command in the folder of a running `starter dev`",
				devstack.EnvGatewayURL)
	}
	if o.verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(o.io.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg, nil
}

func (o *simulateOptions) here(path string) string {
	return (&certOptions{globals: o.globals}).here(path)
}

// equip says which devices have agents: the first ones by name, and all that the scenario names. Where there are fewer
// than are wanted the others enroll.
func (o *simulateOptions) equip(ctx context.Context, store *inventory.Store, orgID string,
	cfg *simulator.Config,
) error {
	found, err := store.Devices(ctx, inventory.Query{OrgID: orgID})
	if err != nil {
		return err
	}
	devices, err := demo.AgentsOf(found)
	if err != nil {
		return err
	}
	if err := missing(cfg.Scenario, devices); err != nil {
		return err
	}
	if o.devices > len(devices) {
		cfg.Extra = o.devices - len(devices)
	}
	wanted := map[string]bool{}
	for _, name := range cfg.Scenario.Devices() {
		wanted[name] = true
	}
	for i, d := range devices {
		if o.devices == 0 || i < o.devices || wanted[d.Name] {
			cfg.Devices = append(cfg.Devices, d)
		}
	}
	if len(cfg.Devices)+cfg.Extra == 0 {
		return errors.New("there is no device in the database: import a fleet, or say with --devices how many agents " +
			"are to enroll")
	}
	return nil
}

// missing complains of devices that the scenario names and that are not there.
func missing(scenario simulator.Scenario, devices []simulator.Device) error {
	there := map[string]bool{}
	for _, d := range devices {
		there[d.Name] = true
	}
	var not []string
	for _, name := range scenario.Devices() {
		if !there[name] {
			not = append(not, name)
		}
	}
	if len(not) > 0 {
		return fmt.Errorf("the scenario speaks of devices that are not in the database, or are out of service: %q", not)
	}
	return nil
}

// answeredEvery is how often the database is asked whether all devices have been answered.
const answeredEvery = time.Second

// errAnswered and errTimeIsUp are how a simulation ends that has reached its end.
var (
	errAnswered = errors.New("every device that came back was answered")
	errTimeIsUp = errors.New("the time is up")
)

// live runs the agents to their end, which Ctrl-C is, too, and prints what they did.
func (o *simulateOptions) live(ctx context.Context, store *inventory.Store, orgID string,
	fleet *simulator.Fleet,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.lasts > 0 {
		timer := time.AfterFunc(o.lasts, func() { cancel(errTimeIsUp) })
		defer timer.Stop()
	}
	ended := make(chan simulator.Summary, 1)
	go func() { ended <- fleet.Run(ctx) }()
	tick := time.NewTicker(answeredEvery)
	defer tick.Stop()
	view := printer.NewSimulation(o.io, fleet)
	for {
		select {
		case s := <-ended:
			view.Close()
			// How the agents stood while they lived says more than that they have ended.
			s.States = view.Last.States
			return o.output.Print(o.io.Stdout, s, func(w io.Writer) error { return printer.PrintSimulation(w, s) })
		case <-tick.C:
		}
		view.Show(fleet.Summary())
		if o.untilAnswered && ctx.Err() == nil {
			answered, err := allAnswered(ctx, store, orgID, fleet)
			if err != nil {
				fmt.Fprintf(o.io.Stderr, "warning: %v\n", err) // a database that is away for a moment ends no agent
			}
			if answered {
				cancel(errAnswered)
			}
		}
	}
}

// allAnswered reports whether all agents are back, and none of their devices awaits its reconnect. Those that ask to
// be let in wait for a human.
func allAnswered(ctx context.Context, store *inventory.Store, orgID string, fleet *simulator.Fleet) (bool, error) {
	s := fleet.Summary()
	if s.Back < int64(s.Agents-s.Fates[simulator.NeverBack]-s.Fates[simulator.Straggler]) {
		return false, nil
	}
	waiting, err := selector.ParseFieldSelector("devices", "status.summary.status="+string(runbook.StateAwaitingReconnect))
	if err != nil {
		return false, err
	}
	standing, err := store.Position(ctx, inventory.Query{OrgID: orgID, Fields: waiting})
	if err != nil {
		return false, err
	}
	waits := make(map[string]bool, len(standing))
	for _, d := range standing {
		waits[d.Name] = true
	}
	for _, p := range fleet.Plans() {
		if waits[p.Name] && p.Fate != simulator.NeverBack && p.Fate != simulator.Straggler {
			return false, nil
		}
	}
	return true, nil
}
