package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

type restoreOptions struct {
	*globals
	operator
	output    *printer.Format
	id        string
	supersede bool
	dryRun    bool
	all       bool
	wait      bool
	// untilHuman ends the wait when a human is needed.
	untilHuman bool
	timeout    time.Duration

	batchSize, batchesAtOnce int
	// watchInterval is how often the restore's inventory watch looks; 0 is never.
	watchInterval time.Duration
}

func newRestoreCommand(g *globals) *cobra.Command {
	o := &restoreOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Start the roll call of a restored fleet, or take one up again",
		Long: `Starts the roll call: every eligible device of every organisation (or of the one of --org) is put on the roll
and waits until it reports. While another restore of the same devices runs,
it is refused unless it supersedes that one. With the
--id of a restore that was cancelled, or whose workflow was terminated, it takes that roll call up
where it stands; with that
of one that runs and --wait it waits for its end. --dry-run says how many devices would wait,
and how many of them are back
already and would wait again.`,
		Example: `  starter restore
  starter restore --id after-outage --wait
  starter restore --supersede --dry-run
  starter restore --id second-backup --supersede --as alice
  starter restore --id acme-only --org acme -o json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&o.id, "id", "", "`id` of the restore (default restore-YYYYMMDD-HHMMSS)")
	cmd.Flags().BoolVar(&o.supersede, "supersede", false, "take over from restores that still run")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what the restore would do, and start nothing")
	cmd.Flags().BoolVar(&o.all, "all", false,
		"beside Flight Control: also call devices that are back since flightctl-restore")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "show progress, and return when every device is accounted for")
	cmd.Flags().BoolVar(&o.untilHuman, "until-human", false, "with --wait: end when a human is needed, with exit code 7")
	cmd.Flags().IntVar(&o.batchSize, "batch-size", 0,
		fmt.Sprintf("devices that one parent workflow holds (default %d, at most %d)", runbook.DefaultBatchSize,
			runbook.MaxBatchSize))
	cmd.Flags().IntVar(&o.batchesAtOnce, "batches-at-once", 0,
		fmt.Sprintf("parent workflows that start their devices at a time (default %d, at most %d; more use more of a large "+
			"cluster)", runbook.DefaultBatchesAtOnce, runbook.MaxBatchesAtOnce))
	cmd.Flags().DurationVar(&o.watchInterval, "watch-interval", runbook.DefaultWatchInterval,
		"how often to look for noted reports, for devices that are gone, and for what Flight Control did; 0 is never")
	cmd.Flags().DurationVar(&o.timeout, "timeout", ask.OpenTimeout,
		"how long to wait for a worker to open the restore or refuse it")
	o.bindAs(cmd)
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := o.complete(cmd); err != nil {
			return err
		}
		return o.run(ctx)
	})
	return cmd
}

func (o *restoreOptions) complete(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("id") {
		o.id = o.io.Now().UTC().Format("restore-20060102-150405")
	}
	if err := runbook.CheckRestoreID(o.id); err != nil {
		return usagef("%w", err)
	}
	if o.untilHuman && !o.wait {
		return usagef("--until-human ends --wait: use both")
	}
	if o.batchSize < 0 || o.batchSize > runbook.MaxBatchSize {
		return usagef("--batch-size %d: use 1 to %d, or 0 for the default", o.batchSize, runbook.MaxBatchSize)
	}
	if o.batchesAtOnce < 0 || o.batchesAtOnce > runbook.MaxBatchesAtOnce {
		return usagef("--batches-at-once %d: use 1 to %d, or 0 for the default", o.batchesAtOnce, runbook.MaxBatchesAtOnce)
	}
	if _, err := runbook.ParseWatchInterval(o.watchInterval.String()); err != nil {
		return usagef("--watch-interval: %w", err)
	}
	return o.operator.complete(o.io, cmd)
}

func (o *restoreOptions) run(ctx context.Context) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.scope(ctx, store)
	if err != nil {
		return err
	}
	start := o.start()
	if err := start.Precheck(ctx, store, orgID); err != nil {
		return err
	}
	if o.dryRun {
		return o.preview(ctx, store, orgID)
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	noWorker := ask.Reach(ctx, c, o.queue())
	if noWorker != nil && !ask.IsNoWorker(noWorker) {
		return noWorker
	}
	started, err := start.StartOrTakeUp(ctx, store, c, orgID)
	switch {
	case ask.IsRunning(err) && o.wait && !o.supersede:
		fmt.Fprintf(o.io.Stderr, "restore %s runs already: waiting for its end\n", o.id)
		started = c.GetWorkflow(ctx, runbook.RestoreWorkflowID(o.id), "")
	case err != nil:
		return err
	}
	return o.follow(ctx, store, c, started, noWorker != nil)
}

// preview says what the restore would do.
func (o *restoreOptions) preview(ctx context.Context, store *inventory.Store, orgID string) error {
	p, err := store.PreviewRestore(ctx, inventory.OpenRestoreInput{ID: o.id, OrgID: orgID, Supersede: o.supersede})
	if err != nil {
		return err
	}
	return o.output.Print(o.io.Stdout, p, func(w io.Writer) error {
		fmt.Fprintf(w, "restore %s would put %s on its roll, and each would wait for its report\n", p.RestoreID,
			printer.Count(p.Total, "device"))
		for _, part := range []struct {
			n    int64
			what string
		}{
			{p.Back, "back already, and would wait again"},
			{p.Paused, "paused, and would be decided about again"},
			{p.Waiting, "waiting already"},
			{p.Withdrawn, "withdrawn, and would wait again"},
		} {
			if part.n > 0 {
				fmt.Fprintf(w, "  %d of them: %s\n", part.n, part.what)
			}
		}
		for _, id := range p.Supersedes {
			fmt.Fprintf(w, "it would supersede restore %s\n", id)
		}
		if back := p.Prepared; back != nil && back.Back > 0 && !o.all {
			fmt.Fprintf(w, "beside Flight Control it would leave %s off the roll: back since flightctl-restore at %s; "+
				"--all calls them too\n", printer.Count(back.Back, "device"), back.At.Format(time.RFC3339))
		}
		return nil
	})
}

func (o *restoreOptions) start() ask.Restore {
	return ask.Restore{
		As: o.asSaid(), ID: o.id, Supersede: o.supersede, All: o.all, By: o.as, OrgRef: o.org, Queue: o.queue(),
		BatchSize: o.batchSize, BatchesAtOnce: o.batchesAtOnce, WatchInterval: o.watchInterval,
		Say: func(what string) { fmt.Fprintln(o.io.Stderr, what) },
	}
}

func (o *restoreOptions) print(status runbook.RestoreStatus) error {
	return o.output.Print(o.io.Stdout, status, func(w io.Writer) error { return printRestored(w, status) })
}

// follow waits until the restore is open or refused, and with --wait until it has ended, and prints its tally.
func (o *restoreOptions) follow(
	ctx context.Context, store *inventory.Store, c client.Client, started client.WorkflowRun, noWorker bool,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &ask.Watch{ID: o.id, Store: store, Client: c, Ended: make(chan error, 1), OpenTimeout: o.timeout}
	go func() { w.Ended <- started.Get(ctx, nil) }()
	if noWorker {
		w.OpenTimeout = ask.NoWorkerTimeout
	}
	answered, err := w.AwaitOpen(ctx)
	if err != nil {
		return err
	}
	if !answered {
		why := fmt.Sprintf("restore %s is started, but no worker on task queue %q has taken it up yet: start one with "+
			"`worker`", o.id, o.queue())
		if failing := ask.WhatFails(ctx, c, o.id); failing != "" && !noWorker {
			why = failing
		}
		fmt.Fprintln(o.io.Stderr, why)
	}
	if o.wait {
		return o.toTheEnd(ctx, w)
	}
	return o.asItStands(ctx, w, answered)
}

// toTheEnd shows progress until every device is accounted for, or someone ends the restore otherwise.
func (o *restoreOptions) toTheEnd(ctx context.Context, w *ask.Watch) error {
	if o.untilHuman {
		w.NeedsHuman = o.board(w.Store, o.id, "").Human
	}
	status, human, err := w.AwaitEnd(ctx, printer.NewProgress(o.io))
	if err != nil {
		return err
	}
	err = o.output.Print(o.io.Stdout, status,
		func(out io.Writer) error { return printer.Status(out, o.io.Now(), status, nil) })
	o.warnOfNone(status)
	o.warnOfBack(ctx, w.Store)
	return cmp.Or(err, verdict(status, human))
}

// asItStands waits a little until the roll is complete, and prints what is on it.
func (o *restoreOptions) asItStands(ctx context.Context, w *ask.Watch, answered bool) error {
	if !answered {
		return o.printStarted()
	}
	complete := w.AwaitRoll(ctx)
	if !complete {
		fmt.Fprintf(o.io.Stderr, "restore %s still puts devices on its roll: watch it with `%s`\n", o.id,
			printer.Command("", "status", o.id))
		if failing := ask.WhatFails(ctx, w.Client, o.id); failing != "" {
			fmt.Fprintln(o.io.Stderr, "warning: "+failing)
		}
	}
	status, err := w.Store.RestoreStatus(ctx, o.id)
	if err != nil {
		return fmt.Errorf("read the tally of restore %s: %w", o.id, err)
	}
	if complete {
		o.warnOfNone(status)
		o.warnOfBack(ctx, w.Store)
	}
	return o.print(status)
}

// printStarted is for a restore that no one has opened yet, so that there is no tally to be read.
func (o *restoreOptions) printStarted() error {
	status := runbook.RestoreStatus{
		RestoreID: o.id, State: runbook.RestoreRunning, StartedAt: o.io.Now().UTC(),
		Counts: runbook.NewCounts(),
	}
	return o.output.Print(o.io.Stdout, status, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "restore %s is started\n", o.id)
		return err
	})
}

func printRestored(w io.Writer, status runbook.RestoreStatus) error {
	_, err := fmt.Fprintf(w, "restore %s is %s with %s on its roll\n  %s\n  %s\n", status.RestoreID, status.State,
		printer.Count(status.Total, "device"),
		printer.Command("", "status", status.RestoreID),
		printer.Command("", "get", "devices", "--field-selector=status.summary.status=ConflictPaused"))
	return err
}

// warnOfNone says that a restore has found no device, which is more likely the wrong database than an empty fleet.
func (o *restoreOptions) warnOfNone(status runbook.RestoreStatus) {
	if status.Total == 0 {
		fmt.Fprintf(o.io.Stderr, "warning: restore %s found no device to put on its roll: see `%s`; is this the restored "+
			"database, and the right --org?\n",
			status.RestoreID, printer.Command(status.OrgID, "get", "devices"))
	}
}

// warnOfBack says how many devices the restore has left off its roll, and why. Where the event of flightctl-restore is
// of the backup, no one has compared them.
func (o *restoreOptions) warnOfBack(ctx context.Context, store *inventory.Store) {
	prepared, err := store.Preparation(ctx, o.id)
	if err != nil || prepared == nil || prepared.Back == 0 {
		return
	}
	fmt.Fprintf(o.io.Stderr, "warning: %s not on the roll: seen since flightctl-restore prepared this database at %s, "+
		"and so compared by Flight Control; if that was before this backup was made, call them too: `%s`\n",
		printer.Count(prepared.Back, "device"), prepared.At.Format(time.RFC3339),
		printer.Command("", "restore", "--all", "--supersede"))
}
