package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
)

type restoreOptions struct {
	*globals
	operator
	output    *format
	id        string
	supersede bool
	wait      bool
	timeout   time.Duration

	batchSize, batchesAtOnce int
	// watchInterval is how often the restore's inventory watch looks; 0 is never.
	watchInterval time.Duration
}

func newRestoreCommand(g *globals) *cobra.Command {
	o := &restoreOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Start the roll call of a restored fleet, or take one up again",
		Long: `Starts the roll call: every eligible device of every organisation (or of the one of --org) is put on the roll and waits
until it reports. While another restore of the same devices runs, it is refused unless it supersedes that one. With the
--id of a restore that was cancelled, or whose workflow was terminated, it takes that roll call up where it stands.`,
		Example: `  starter restore
  starter restore --id after-outage --wait
  starter restore --id second-backup --supersede --as alice
  starter restore --id acme-only --org acme -o json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&o.id, "id", "", "`id` of the restore (default restore-YYYYMMDD-HHMMSS)")
	cmd.Flags().BoolVar(&o.supersede, "supersede", false, "take over from restores that still run")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "show progress, and return when every device is accounted for")
	cmd.Flags().IntVar(&o.batchSize, "batch-size", 0, fmt.Sprintf("devices that one parent workflow holds (default %d, at most %d)", runbook.DefaultBatchSize, runbook.MaxBatchSize))
	cmd.Flags().IntVar(&o.batchesAtOnce, "batches-at-once", 0, fmt.Sprintf("parent workflows that start their devices at a time (default %d, at most %d; more use more of a large cluster)", runbook.DefaultBatchesAtOnce, runbook.MaxBatchesAtOnce))
	cmd.Flags().DurationVar(&o.watchInterval, "watch-interval", runbook.DefaultWatchInterval, "how often to look whether a live Flight Control has seen a device again, or moved it; 0 is never")
	cmd.Flags().DurationVar(&o.timeout, "timeout", openPatience, "how long to wait for a worker to open the restore or refuse it")
	o.bindAs(cmd)
	o.output = bindFormat(cmd, outputJSON, outputYAML)
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
	if err := o.precheck(ctx, store, orgID); err != nil {
		return err
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	started, err := o.startOrTakeUp(ctx, store, c, orgID)
	if err != nil {
		return err
	}
	return o.follow(ctx, store, c, started)
}

// scope is the organisation that the restore is limited to, or "" for all of them.
func (o *restoreOptions) scope(ctx context.Context, store *inventory.Store) (string, error) {
	if o.org == "" {
		return "", nil
	}
	return o.orgID(ctx, store)
}

func (o *restoreOptions) print(status runbook.RestoreStatus) error {
	return o.output.print(o.io.Stdout, status, func(w io.Writer) error { return printRestored(w, status) })
}
