package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rollcall/bench/report"
	"rollcall/runbook"
)

// rollcallOptions are the flags of `bench rollcall`.
type rollcallOptions struct {
	devices                                                                 []int
	batchSize, batchesAtOnce, workers, rounds, senders, underWay, floorWave int
	ahead                                                                   float64
	kill, untilWaiting, skipFloor                                           bool
	server                                                                  string
	servers, shards                                                         int
	serverCPU, workerCPU                                                    float64
	stderr                                                                  io.Writer
}

func newRollcallCommand() *cobra.Command {
	var o rollcallOptions
	cmd := &cobra.Command{
		Use:   "rollcall",
		Short: "A whole roll call against the floor: throughput, histories, memory",
		Long: `Runs a whole roll call, and beside it the floor: the same tree of workflows, each waiting for one signal,
running one local activity of one UPDATE, and completing. Both run on the same servers, one after the other,
and in the other order in the
next round; figures are those of all rounds together.

That throughput follows the servers of a cluster, or the workers, is seen where they are what is scarce: one
and three of them,
each held to a share of a core. (120 shards are dealt to three servers most evenly.)`,
		Example: `  bench rollcall --devices 1000 -o json
  bench rollcall --devices 400 --server postgres --shards 120 --servers 3 --server-cpu 0.25
  bench rollcall --devices 600 --server postgres --workers 3 --worker-cpu 0.05`,
		Args: cobra.NoArgs,
		RunE: report.Command(func(ctx context.Context, stderr io.Writer) (*report.Report, error) {
			o.stderr = stderr
			return o.run(ctx)
		}),
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&o.devices, "devices", []int{1000, 10000}, "sizes of the fleet")
	flags.IntVar(&o.batchSize, "batch-size", runbook.DefaultBatchSize, "devices below one parent workflow")
	flags.IntVar(&o.batchesAtOnce, "batches-at-once", runbook.DefaultBatchesAtOnce,
		"parent workflows that start their devices at a time, ours and the floor's")
	flags.StringVar(&o.server, "server", serverDev,
		"Temporal server: dev (on SQLite) or postgres (make bench-server builds it)")
	flags.IntVar(&o.servers, "servers", 1, "processes of the Temporal server, as one cluster (with --server postgres)")
	flags.IntVar(&o.shards, "shards", 0,
		"history shards, which the processes share (with --server postgres); 0 is the server's own default")
	flags.IntVar(&o.workers, "workers", 1, "worker processes")
	flags.Float64Var(&o.serverCPU, "server-cpu", 0,
		"`cores` that each process of the Temporal server may use, as in 0.25, once it serves; 0 is no limit")
	flags.Float64Var(&o.workerCPU, "worker-cpu", 0,
		"`cores` that each worker may use, once it is about to poll; 0 is no limit")
	flags.IntVar(&o.rounds, "rounds", 2, "how often each is run, in turn")
	flags.IntVar(&o.senders, "senders", 64, "reports, or resumes, under way at once")
	flags.IntVar(&o.underWay, "under-way", 500,
		"reports that may be unanswered at once, as a gateway lets them in; 0 is all")
	flags.Float64Var(&o.ahead, "ahead", 0.1, "share of devices that are ahead of the backup")
	flags.BoolVar(&o.kill, "kill-workers", false, "kill the workers while all devices wait, and start others")
	flags.BoolVar(&o.untilWaiting, "until-waiting", false, "end when all devices wait")
	flags.IntVar(&o.floorWave, "floor-wave", 25, "children of one parent that the floor starts together; 0 is all")
	flags.BoolVar(&o.skipFloor, "skip-floor", false, "leave the floor out")
	return cmd
}

func (o rollcallOptions) check() error {
	for _, n := range o.devices {
		if n < 1 {
			return fmt.Errorf("--devices %d: a fleet has at least one device", n)
		}
	}
	switch {
	case o.batchSize < 1 || o.batchSize > runbook.MaxBatchSize:
		return fmt.Errorf("--batch-size %d is not between 1 and %d", o.batchSize, runbook.MaxBatchSize)
	case o.batchesAtOnce < 1 || o.batchesAtOnce > runbook.MaxBatchesAtOnce:
		return fmt.Errorf("--batches-at-once %d is not between 1 and %d", o.batchesAtOnce, runbook.MaxBatchesAtOnce)
	case o.server != serverDev && o.server != serverPostgres:
		return fmt.Errorf("--server %q: use %s or %s", o.server, serverDev, serverPostgres)
	case o.servers < 1 || o.shards < 0:
		return errors.New("--servers is at least 1, and --shards is not below 0")
	case o.server != serverPostgres && (o.servers > 1 || o.shards > 0):
		return fmt.Errorf("--servers and --shards need --server %s: the development server is one process", serverPostgres)
	case o.workers < 1, o.rounds < 1, o.senders < 1, o.underWay < 0:
		return errors.New("--workers, --rounds and --senders are at least 1, and --under-way is not below 0")
	case o.ahead < 0 || o.ahead > 1:
		return fmt.Errorf("--ahead %g is not between 0 and 1", o.ahead)
	}
	return errors.Join(checkCores("--server-cpu", o.serverCPU), checkCores("--worker-cpu", o.workerCPU))
}

func checkCores(flag string, cores float64) error {
	if cores == 0 || cores >= leastCores {
		return nil
	}
	return fmt.Errorf("%s %g is neither 0, no limit, nor at least %g of a core", flag, cores, leastCores)
}

// checkMachine says what the machine does not allow, before servers are started.
func (o rollcallOptions) checkMachine() error {
	for _, cores := range []float64{o.serverCPU, o.workerCPU} {
		if cores == 0 {
			continue
		}
		if err := checkCPULimits(cores); err != nil {
			return err
		}
	}
	return nil
}

func (o rollcallOptions) run(ctx context.Context) (r *report.Report, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.checkMachine(); err != nil {
		return nil, err
	}
	r = report.New("rollcall", map[string]any{
		"server": o.server, "batchSize": o.batchSize, "batchesAtOnce": o.batchesAtOnce, "workers": o.workers,
		"rounds": o.rounds, "senders": o.senders, "underWay": o.underWay, "ahead": o.ahead, "killWorkers": o.kill,
		"floorWave": o.floorWave,
		"servers":   o.servers, "shards": o.shards, "serverCPU": o.serverCPU, "workerCPU": o.workerCPU,
	})
	s, err := startStackOn(ctx, serverOptions{kind: o.server, members: o.servers, shards: o.shards, cpu: o.serverCPU})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	slices.Sort(o.devices)
	var all []pair
	for _, n := range o.devices {
		p, err := o.measure(ctx, s, n)
		if err != nil {
			return nil, err
		}
		p.report(r, o)
		all = append(all, p)
	}
	reportGrowth(r, all)
	return r, nil
}

// pair is what both have taken, over all rounds.
type pair struct {
	devices     int
	ours, floor measured
}

func (o rollcallOptions) measure(ctx context.Context, s *stack, n int) (pair, error) {
	p := pair{devices: n}
	started := time.Now()
	options := runOptions{
		devices: n, batchSize: o.batchSize, workers: o.workers, senders: o.senders, underWay: o.underWay, ahead: o.ahead,
		workerCPU: o.workerCPU, killWorkers: o.kill, untilWaiting: o.untilWaiting,
		progress: func(format string, args ...any) {
			fmt.Fprintf(o.stderr, "%4.0f s  "+format+"\n", append([]any{time.Since(started).Seconds()}, args...)...)
		},
	}
	for round := range o.rounds {
		// A server that has more in its database is slower: who comes second in one round comes first in the next.
		order := []func() error{
			func() error {
				id := fmt.Sprintf("bench-%d-%d", n, round)
				runner := &ours{
					id: id, prefix: fmt.Sprintf("device-%d-%d-", n, round), batchSize: o.batchSize,
					batchesAtOnce: o.batchesAtOnce, ahead: o.ahead, senders: o.senders,
				}
				m, err := race(ctx, s, "ours", runner, options)
				p.ours.add(m, o.rounds)
				return err
			},
			func() error {
				if o.skipFloor {
					return nil
				}
				in := floorSlice{
					Run: fmt.Sprintf("%d-%d", n, round), BatchSize: o.batchSize, Wave: o.floorWave,
					Batches: o.batchesAtOnce,
				}
				m, err := race(ctx, s, "floor", &floorRunner{in: in}, options)
				p.floor.add(m, o.rounds)
				return err
			},
		}
		if round%2 == 0 {
			slices.Reverse(order)
		}
		for _, run := range order {
			if err := run(); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// add puts one of so many rounds into the mean; of memory it keeps the most.
func (m *measured) add(one measured, rounds int) {
	part := 1 / float64(rounds)
	for _, l := range []struct{ to, from *lap }{
		{&m.Roll, &one.Roll}, {&m.FanOut, &one.FanOut}, {&m.Storm, &one.Storm}, {&m.Resume, &one.Resume}, {&m.End, &one.End},
	} {
		l.to.Seconds += part * l.from.Seconds
		l.to.WorkerCPU += part * l.from.WorkerCPU
		l.to.ServerCPU += part * l.from.ServerCPU
		l.to.Devices = l.from.Devices
	}
	m.Whole += part * one.Whole
	m.WorkerMiB = max(m.WorkerMiB, one.WorkerMiB)
	m.WorkerPeakMiB = max(m.WorkerPeakMiB, one.WorkerPeakMiB)
	m.ServerMiB = max(m.ServerMiB, one.ServerMiB)
	m.InventoryMiB, m.TemporalMiB = max(m.InventoryMiB, one.InventoryMiB), max(m.TemporalMiB, one.TemporalMiB)
	for _, h := range []struct{ to, from *size }{
		{&m.Normal, &one.Normal},
		{&m.Conflict, &one.Conflict},
		{&m.Parents, &one.Parents},
	} {
		h.to.Most = max(h.to.Most, h.from.Most)
		h.to.Events += part * h.from.Events
		h.to.Bytes += part * h.from.Bytes
	}
}
