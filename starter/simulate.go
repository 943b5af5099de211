package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/simulator"
)

type simulateOptions struct {
	*globals
	output                           *format
	gateway, caCert, caKey, scenario string
	devices                          int
	seed                             uint64
	lasts                            time.Duration
	untilAnswered, verbose           bool
}

func newSimulateCommand(g *globals) *cobra.Command {
	o := &simulateOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Be the agents of a fleet that comes back, over the gateway",
		Long: `Runs agents as real HTTP clients with certificates of their own, which do what those of Flight Control do: they poll the
gateway, report what they run, apply what they are served, fail at it, reboot, lose their connection, and enroll anew where
the service does not know them. Names and restored versions are read from the database, in the order of the names; agents
beyond those enroll, and wait for your approval. The certificates are signed by the authority that you name; in the folder of
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
	flags.StringVar(&o.gateway, "gateway", "", "`URL` of the gateway (default $"+envGatewayURL+")")
	flags.StringVar(&o.caCert, "ca-cert", "", "PEM `file` of the authority's certificate (default $"+envCACert+")")
	flags.StringVar(&o.caKey, "ca-key", "", "PEM `file` of its key (default $"+envCAKey+")")
	flags.Uint64Var(&o.seed, "seed", 1, "`number` that chance is drawn from")
	flags.StringVar(&o.scenario, "scenario", "", "YAML `file` that says what the agents do")
	flags.DurationVar(&o.lasts, "for", 0, "end after this `time` (default only with Ctrl-C)")
	flags.BoolVar(&o.untilAnswered, "until-answered", false, "end when no device that has come back awaits its reconnect any more")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "write each agent's decisions to stderr")
	o.output = bindFormat(cmd, outputJSON, outputYAML)
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
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.orgID(ctx, store)
	if err != nil {
		return err
	}
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
	if o.scenario != "" {
		// A demo's file is one, with what is no agent's doing beside it.
		var plan demoPlan
		if err := simulator.ReadScenario(o.here(o.scenario), &plan); err != nil {
			return cfg, err
		}
		cfg.Scenario = plan.Scenario
	}
	signing := &certOptions{globals: o.globals, caCert: o.caCert, caKey: o.caKey}
	var err error
	if cfg.CA, err = signing.authority(); err != nil {
		return cfg, err
	}
	if cfg.Gateway = o.gateway; cfg.Gateway == "" {
		cfg.Gateway, _ = o.io.Env(envGatewayURL)
	}
	if cfg.Gateway == "" {
		return cfg, fmt.Errorf("no gateway is known: set --gateway (or %s), or run the command in the folder of a running `starter dev`", envGatewayURL)
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
func (o *simulateOptions) equip(ctx context.Context, store *inventory.Store, orgID string, cfg *simulator.Config) error {
	found, err := store.Devices(ctx, inventory.Query{OrgID: orgID})
	if err != nil {
		return err
	}
	devices, err := agentsOf(found)
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
		return errors.New("there is no device in the database: import a fleet, or say with --devices how many agents are to enroll")
	}
	return nil
}

// agentsOf are the devices that have an agent: one that is being taken out of service has none that would come back.
func agentsOf(found []inventory.Resource) ([]simulator.Device, error) {
	var devices []simulator.Device
	for _, d := range found {
		lifecycle, err := lifecycleOf(d)
		if err != nil {
			return nil, err
		}
		if runbook.Eligible(d.Metadata.DeletionTimestamp != nil, lifecycle) {
			devices = append(devices, simulator.Device{
				Name: d.Metadata.Name, Restored: d.Metadata.Annotations[runbook.AnnotationRenderedVersion], Status: d.Status,
			})
		}
	}
	return devices, nil
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
