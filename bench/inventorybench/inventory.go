package inventorybench

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"rollcall/bench/process"
	"rollcall/bench/report"
)

// inventoryOptions are the flags of `bench inventory`.
type inventoryOptions struct {
	devices     []int
	rounds      int
	connections int
	postgresURL string
	durable     bool
	schemas     []string
	starter     string
	only        []string
}

// The parts that --only names.
const (
	partRoll        = "roll"
	partTransitions = "transitions"
	partRead        = "read"
)

var inventoryParts = []string{partRoll, partTransitions, partRead}

// NewCommand is `bench inventory`.
func NewCommand() *cobra.Command {
	var o inventoryOptions
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "Measure the inventory's transitions and queries against bare statements on the same rows",
		Long: `Fills databases with devices and measures, ours and the floor alternately on the same server: the whole roll of
a restore (T1) against one UPDATE of the same rows, reconnects (T2
and T3) on many connections against a bare UPDATE of each row, and
"starter get" and "starter status" as processes, whose floor is their own query on a connection made for it. Without
--postgres-url it runs a private PostgreSQL in a temporary directory.`,
		Example: `  bench inventory
  bench inventory --devices 100000 --rounds 5 -o json
  bench inventory --devices 10000 --schemas flightctl --only roll`,
		Args: cobra.NoArgs,
		RunE: report.Command(func(ctx context.Context, _ io.Writer) (*report.Report, error) {
			if err := o.check(); err != nil {
				return nil, err
			}
			return o.run(ctx)
		}),
	}
	cmd.Flags().IntSliceVar(&o.devices, "devices", []int{10_000, 100_000}, "sizes of the fleet")
	cmd.Flags().IntVar(&o.rounds, "rounds", 5,
		"how often each measurement is made, ours and the floor in turn; figures are medians")
	cmd.Flags().IntVar(&o.connections, "connections", 16, "how many transitions run at a time")
	cmd.Flags().StringVar(&o.postgresURL, "postgres-url", "",
		"`URL` of a server to use instead of a private one; its user may create databases")
	cmd.Flags().BoolVar(&o.durable, "durable", false, "have the private server wait for its disk at each commit")
	cmd.Flags().StringSliceVar(&o.schemas, "schemas", []string{schemaOwn, schemaFlightctl},
		"whose tables: those that Rollcall makes, or such as Flight Control's")
	cmd.Flags().StringVar(&o.starter, "starter", "", process.StarterUsage)
	cmd.Flags().StringSliceVar(&o.only, "only", inventoryParts, "parts to run")
	cmd.AddCommand(newRollChildCommand())
	return cmd
}

func (o *inventoryOptions) check() error {
	if o.rounds < 1 || o.connections < 1 || len(o.devices) == 0 {
		return fmt.Errorf("--rounds and --connections must be 1 or more, and --devices name a size")
	}
	for _, n := range o.devices {
		if n < 100 {
			return fmt.Errorf("--devices %d: use 100 or more", n)
		}
	}
	for _, s := range o.schemas {
		if s != schemaOwn && s != schemaFlightctl {
			return fmt.Errorf("unknown schema %q: use one of %s, %s", s, schemaOwn, schemaFlightctl)
		}
	}
	return report.CheckParts(o.only, inventoryParts)
}

func (o *inventoryOptions) run(ctx context.Context) (*report.Report, error) {
	server, err := o.openServer(ctx)
	if err != nil {
		return nil, err
	}
	defer server.close()
	r := report.New("inventory", map[string]any{
		"devices": o.devices, "rounds": o.rounds, "connections": o.connections, "durable": o.durable, "schemas": o.schemas,
		"postgres": server.version,
	})
	for _, schema := range o.schemas {
		for _, n := range o.devices {
			b := &inventoryBench{inventoryOptions: o, server: server, report: r, schema: schema, n: n}
			if err := b.run(ctx); err != nil {
				return nil, fmt.Errorf("%s, %d devices: %w", schema, n, err)
			}
		}
	}
	return r, nil
}

// inventoryBench measures one size of fleet on one schema.
type inventoryBench struct {
	*inventoryOptions
	server *benchServer
	report *report.Report
	schema string
	n      int
}

func (b *inventoryBench) run(ctx context.Context) error {
	fleet, err := b.server.newFleet(ctx, b.schema, b.n)
	if err != nil {
		return err
	}
	defer b.server.drop(fleet)
	if b.wants(partRoll) {
		if err := b.measureRoll(ctx, fleet); err != nil {
			return fmt.Errorf("measure the roll: %w", err)
		}
	}
	if !b.wants(partTransitions) && !b.wants(partRead) {
		return nil
	}
	rolled, err := b.server.newRolled(ctx, fleet)
	if err != nil {
		return err
	}
	defer b.server.drop(rolled)
	if b.wants(partTransitions) {
		if err := b.measureTransitions(ctx, rolled); err != nil {
			return fmt.Errorf("measure transitions: %w", err)
		}
	}
	if b.wants(partRead) {
		if err := b.measureReads(ctx, rolled); err != nil {
			return fmt.Errorf("measure reads: %w", err)
		}
	}
	return nil
}

func (b *inventoryBench) wants(part string) bool { return slices.Contains(b.only, part) }

// add reports a figure of this size and schema.
func (b *inventoryBench) add(name, unit string, value, floor float64, t *report.Target) {
	b.report.Add(report.Figure{
		Name: name + " (" + b.schema + ")", Devices: b.n, Value: value, Unit: unit, Floor: floor,
		Target: t,
	})
}

func median(values []float64) float64 { return percentile(values, 50) }

// percentile is the smallest value that so many per cent of the values do not exceed.
func percentile(values []float64, percent int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
