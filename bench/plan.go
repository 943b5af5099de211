package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rollcall/bench/process"
	"rollcall/bench/report"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/runbook"
)

// What was measured for a device (docs/performance.md says how); the plan is these times the number of devices.
const (
	deviceEvents        = 11    // history, normal path
	conflictEventsTaken = 18    // history, conflict and resume
	deviceBytes         = 2_250 // history, normal path
	conflictBytes       = 3_700
	parentEventsTaken   = 3.8 // parents' histories, for each device
	parentBytes         = 1_500
	// worstParentEvents is when every start and every end of a child comes alone: asked for, started, ended, and two
	// workflow tasks of three events.
	worstParentEvents = 9
	// batchEventsInRoot is what one batch adds to the history of its restore: the same nine and a signal.
	batchEventsInRoot = 10
	rollRowBytes      = 2_000  // of the inventory's own tables and indexes, once a device has been through the roll call
	workflowBytes     = 42_000 // of Temporal's databases on PostgreSQL, visibility included
	cachedBytes       = 95_000 // of a worker's memory, for a workflow in its cache, busy parents among them
	workerBaseBytes   = 45 << 20
)

// Temporal's limits, as a server has them by default.
const (
	limitEvents       = 51_200
	warnEvents        = 10_240
	limitHistoryBytes = 50 << 20
	limitChildren     = 2_000
	limitUpdates      = 2_000
)

// plan is what a restore of so many devices needs.
type plan struct {
	Devices   int      `json:"devices"`
	Batches   int      `json:"batches"`
	BatchSize int      `json:"batchSize"`
	Needs     []need   `json:"needs"`
	Margins   []margin `json:"margins"`
}

// need is one thing to provide.
type need struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	How   string  `json:"how"`
}

// margin is how far a limit of Temporal's is away.
type margin struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	// Times is how often the value goes into the limit.
	Times float64 `json:"times"`
}

// clusterRates is what a cluster does a second.
type clusterRates struct {
	rolled, started, answered float64
	conflicts                 float64 // share of devices
}

// defaultRates is what was measured on a machine with two cores.
var defaultRates = clusterRates{rolled: 5100, started: 93, answered: 100, conflicts: 0.1}

func newPlanCommand() *cobra.Command {
	p := defaultRates
	cmd := &cobra.Command{
		Use:   "plan DEVICES",
		Short: "What a restore of so many devices needs, and how far Temporal's limits are away",
		Long: `Multiplies what was measured for one device (docs/performance.md). The rates are those of one machine with two
cores; give those of your cluster, as bench rollcall measures them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			devices, err := strconv.Atoi(args[0])
			if err != nil {
				return fmt.Errorf("%q is not a number of devices; give one such as 1000000", args[0])
			}
			return printPlan(cmd, devices, p)
		},
	}
	p.bind(cmd)
	return cmd
}

func (p *clusterRates) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Float64Var(&p.rolled, "rolled", p.rolled, "devices a second that PostgreSQL puts on the roll (T1)")
	flags.Float64Var(&p.started, "started", p.started, "devices a second whose workflow the cluster starts")
	flags.Float64Var(&p.answered, "answered", p.answered, "reports a second that the cluster answers")
	flags.Float64Var(&p.conflicts, "ahead", p.conflicts, "share of devices that are ahead of the backup")
}

func printPlan(cmd *cobra.Command, devices int, p clusterRates) error {
	if devices < 1 {
		return fmt.Errorf("%d devices cannot be planned for; give a number such as 1000000", devices)
	}
	if p.rolled <= 0 || p.started <= 0 || p.answered <= 0 || p.conflicts < 0 || p.conflicts > 1 {
		return errors.New("--rolled, --started and --answered must be above 0, and --ahead between 0 and 1")
	}
	plan, err := makePlan(devices, p)
	if err != nil {
		return err
	}
	return report.PrintAs(cmd, plan, plan.table)
}

func makePlan(devices int, p clusterRates) (plan, error) {
	slices, err := runbook.PlanBatches(int64(devices), 0)
	if err != nil {
		return plan{}, err
	}
	n, batch := float64(devices), float64(slices[0].To-slices[0].From)
	made := plan{Devices: devices, Batches: len(slices), BatchSize: int(batch)}
	hours := func(rate float64) float64 { return n / rate / time.Hour.Seconds() }
	normal, conflict := n*(1-p.conflicts), n*p.conflicts
	needs := func(what string, value float64, unit, how string) {
		made.Needs = append(made.Needs, need{what, value, unit, how})
	}
	needs("put on the roll (T1)", hours(p.rolled),
		"h", fmt.Sprintf("at %g devices/s; a device may report as soon as its workflow waits", p.rolled))
	needs("fan-out: until the last device can be heard", hours(p.started),
		"h", fmt.Sprintf("at %g workflows/s", p.started))
	needs("answering all of them at once", hours(p.answered),
		"h", fmt.Sprintf("at %g reports/s; the gateway makes agents wait meanwhile", p.answered))
	needs("histories of devices", (normal*deviceBytes+conflict*conflictBytes)/gib,
		"GiB", fmt.Sprintf("%d bytes, %d with a conflict", deviceBytes, conflictBytes))
	needs("histories of parents", n*parentBytes/gib, "GiB", fmt.Sprintf("%d bytes for each device", parentBytes))
	needs("Temporal's databases", n*workflowBytes/gib,
		"GiB", fmt.Sprintf("%d KB for each workflow, visibility and its indexes included, until the retention ends",
			workflowBytes/1000))
	needs("inventory, beside Flight Control's own", n*rollRowBytes/gib,
		"GiB", fmt.Sprintf("%d bytes for each device: roll, audit, events", rollRowBytes))
	needs("workers", math.Ceil(max(2, p.answered/200, p.started/200)), "processes",
		"one core carries some 200 a second; two, so that one may die")
	needs("memory of each worker", (workerBaseBytes+min(n, host.CacheSize)*cachedBytes)/process.MiB,
		"MiB", fmt.Sprintf("its cache holds at most %d workflows", host.CacheSize))
	needs("history shards", shards(max(p.started, p.answered)), "shards",
		"fixed when a cluster is made; a power of two with 4 or more for each workflow a second")
	margins := func(what string, value, limit float64) {
		made.Margins = append(made.Margins, margin{what, value, limit, limit / value})
	}
	margins("children of the restore (pending at once)", float64(len(slices)), limitChildren)
	margins("children of a batch (pending at once)", batch, limitChildren)
	margins("events of a batch, as measured", batch*parentEventsTaken, limitEvents)
	margins("events of a batch, at worst", batch*worstParentEvents, limitEvents)
	margins("events of a batch, at worst, until Temporal warns", batch*worstParentEvents, warnEvents)
	margins("bytes of a batch's history", batch*parentBytes, limitHistoryBytes)
	margins("events of the restore, without its looks at the tally", float64(len(slices))*batchEventsInRoot+
		float64(inventory.RollParts(int(n)))*9, limitEvents)
	margins("events of a device, conflict and resume", conflictEventsTaken, limitEvents)
	margins("resumes of one device in one run", 1, limitUpdates)
	return made, nil
}

const (
	gib = 1 << 30
)

// shards is the power of two that leaves each shard at most a write every few milliseconds.
func shards(perSecond float64) float64 {
	n := 4.0
	for n < 4*perSecond {
		n *= 2
	}
	return n
}

func (p plan) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d devices in %d batches of up to %d\n\n", p.Devices, p.Batches, p.BatchSize)
	fmt.Fprintln(w, "NEEDED\tHOW MUCH\tUNIT\tHOW IT IS RECKONED")
	for _, n := range p.Needs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.What, report.Number(n.Value), n.Unit, n.How)
	}
	fmt.Fprintln(w, "\nLIMIT OF TEMPORAL\tVALUE\tLIMIT\tMARGIN")
	for _, m := range p.Margins {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%s times\n", m.What, report.Number(m.Value), m.Limit, report.Number(m.Times))
	}
	return w.Flush()
}
