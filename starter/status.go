package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/board"
	"rollcall/starter/printer"
)

// leastInterval is how often a watch may look at most.
const leastInterval = 100 * time.Millisecond

type statusOptions struct {
	*globals
	output  *printer.Format
	longest int

	watch, wait, untilHuman bool
	interval                time.Duration
}

// defaultLongest is how many of those that have waited longest are listed.
const defaultLongest = 10

func newStatusCommand(g *globals) *cobra.Command {
	o := &statusOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "status [RESTORE]",
		Short: "Show the tally of a roll call, and who has waited longest",
		Long: `Shows how many devices of a restore wait, are paused, are back and were withdrawn, and which have waited
longest. Without an id it is the newest restore that runs, or the newest there was. The tally always adds up to the
number of devices that the restore put on its roll; with --org it is of that organisation's devices.

With --watch it shows the roll call until it ends: on a terminal as one screen,
elsewhere as a line for each change (with
-o json a line of JSON). The pace is that of the last five minutes. --wait shows progress only,
and prints the tally at the
end. Both fail if the restore was not completed.

--until-human ends either of them, with exit code 7, when a human is needed: a device is paused that no one has decided
about, a plan is held, or nothing goes on with the restore.`,
		Example: `  starter status
  starter status after-outage -o json
  starter status --longest 50
  starter status --watch
  starter status --wait --until-human`,
		Args: cobra.MaximumNArgs(1),
		RunE: run(func(ctx context.Context, args []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return o.run(ctx, strings.Join(args, ""))
		}),
	}
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "show the roll call until it ends")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "show progress, and return when every device is accounted for")
	cmd.Flags().BoolVar(&o.untilHuman, "until-human", false,
		"with --watch or --wait: end when a human is needed, with exit code 7")
	cmd.Flags().DurationVar(&o.interval, "interval", board.Interval, "with --watch: how often to look")
	cmd.Flags().IntVar(&o.longest, "longest", defaultLongest,
		"how many `devices` of those that have waited longest to list")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	return cmd
}

func (o *statusOptions) complete() error {
	switch {
	case o.longest < 0:
		return usagef("--longest %d: use 0 or more", o.longest)
	case o.watch && o.wait:
		return usagef("--watch shows the roll call and --wait waits for its end: use one of them")
	case o.untilHuman && !o.watch && !o.wait:
		return usagef("--until-human ends --watch or --wait: use it with one of them")
	case o.interval < leastInterval:
		return usagef("--interval %s: use %s or more", o.interval, leastInterval)
	case o.watch && o.output.Value == printer.FormatYAML:
		return usagef("--watch writes text or, with -o json, a line of JSON for each change")
	}
	return nil
}

func (o *statusOptions) run(ctx context.Context, id string) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.scope(ctx, store)
	if err != nil {
		return err
	}
	status, err := readStatus(ctx, store, id, orgID)
	if err != nil {
		return err
	}
	switch {
	case o.watch:
		return o.follow(ctx, store, status.RestoreID, orgID)
	case o.wait:
		return o.await(ctx, store, status.RestoreID, orgID)
	}
	view := printer.RestoreView{RestoreStatus: status, Warning: o.warning(ctx, status)}
	return o.output.Print(o.io.Stdout, view, func(w io.Writer) error {
		waiting, err := o.waiting(ctx, store, status, orgID)
		if err != nil {
			return err
		}
		if err := view.Text(w, o.io.Now(), waiting); err != nil {
			return err
		}
		return o.printLink(w, status)
	})
}

// follow shows the roll call until it ends, a human is needed, or the operator has seen enough.
func (o *statusOptions) follow(ctx context.Context, store *inventory.Store, id, orgID string) error {
	f := o.board(store, id, orgID)
	f.Every, f.JSON, f.UntilHuman = o.interval, o.output.Machine(), o.untilHuman
	last, human, err := f.Run(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	return verdict(last.RestoreStatus, human)
}

// await waits for the end of the roll call as `restore --wait` does.
func (o *statusOptions) await(ctx context.Context, store *inventory.Store, id, orgID string) error {
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := ask.Attach(ctx, store, c, id)
	if o.untilHuman {
		w.NeedsHuman = o.board(store, id, orgID).Human
	}
	status, human, err := w.AwaitEnd(ctx, printer.NewProgress(o.io))
	if err == nil {
		status, err = readStatus(ctx, store, id, orgID)
	}
	if err != nil {
		return err
	}
	err = o.output.Print(o.io.Stdout, status,
		func(out io.Writer) error { return printer.Status(out, o.io.Now(), status, nil) })
	return cmp.Or(err, verdict(status, human))
}

// board is what shows a roll call.
func (g *globals) board(store *inventory.Store, id, orgID string) *board.Follow {
	return &board.Follow{
		IO: g.io, UntilHuman: true,
		Read: func(ctx context.Context, warning string) (board.Board, error) {
			return board.Read(ctx, store, g.io.Now, id, orgID, warning)
		},
		Warn: func(ctx context.Context) string {
			return g.whyItStands(ctx, runbook.RestoreStatus{RestoreID: id, State: runbook.RestoreRunning})
		},
	}
}

// verdict is what the end of a watch means for its exit code.
func verdict(status runbook.RestoreStatus, human string) error {
	switch {
	case human != "":
		return &exitError{
			code: printer.ExitHuman,
			err:  fmt.Errorf("a human is needed for restore %s: %s", status.RestoreID, human),
		}
	case status.State == runbook.RestoreCompleted || status.RestoreID == "":
		return nil
	}
	return fmt.Errorf("restore %s did not complete: it was %s with %s still waiting", status.RestoreID,
		printer.Lower(status.State), printer.Count(status.Waiting(), "device"))
}

// whyItStands says why nothing goes on with a restore that is open; empty where something does. That Temporal cannot be
// reached is a reason, too.
func (g *globals) whyItStands(ctx context.Context, status runbook.RestoreStatus) string {
	if status.State != runbook.RestoreRunning {
		return ""
	}
	c, err := g.dial(ctx)
	if err != nil {
		return fmt.Sprintf("it is not known whether anything goes on with restore %s: %v", status.RestoreID, err)
	}
	defer c.Close()
	return ask.WhyRestoreStands(ctx, c, g.queue(), status.RestoreID)
}

// warning says why nothing goes on with a restore, or else what the watch of a restore that runs cannot do at present.
func (g *globals) warning(ctx context.Context, status runbook.RestoreStatus) string {
	stands := g.whyItStands(ctx, status)
	if stands != "" || status.State != runbook.RestoreRunning {
		return stands
	}
	c, err := g.dial(ctx)
	if err != nil {
		return ""
	}
	defer c.Close()
	return ask.WhatFails(ctx, c, status.RestoreID)
}

func (o *statusOptions) printLink(w io.Writer, status runbook.RestoreStatus) error {
	link := o.webLink(runbook.RestoreWorkflowID(status.RestoreID))
	if link == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "web UI: %s\n", link)
	return err
}

// readStatus reads the tally of a restore; an empty id is the newest that runs, else the newest. An orgID limits it to
// that organisation's devices, and to restores that have them on their roll.
func readStatus(ctx context.Context, store *inventory.Store, id, orgID string) (runbook.RestoreStatus, error) {
	status, err := store.RestoreStatusIn(ctx, id, orgID)
	refusal := runbook.AsRefusal(err)
	switch {
	case refusal != nil && refusal.Code == runbook.CodeNotFound && id == "":
		return status, runbook.Refuse(runbook.CodeNotFound, "there has been no restore yet: start one with `starter restore`")
	case refusal != nil:
		return status, refusal
	case err != nil:
		return status, fmt.Errorf("read the tally of restore %q: %w", id, err)
	}
	return status, nil
}

func (o *statusOptions) waiting(
	ctx context.Context, store *inventory.Store, status runbook.RestoreStatus, orgID string,
) ([]inventory.Waiting, error) {
	if o.longest == 0 || status.Waiting() == 0 {
		return nil, nil
	}
	waiting, err := store.LongestWaitingIn(ctx, status.RestoreID, orgID, o.longest)
	if err != nil {
		return nil, fmt.Errorf("read who has waited longest: %w", err)
	}
	return waiting, nil
}
