package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
)

type statusOptions struct {
	*globals
	output  *format
	longest int
}

func newStatusCommand(g *globals) *cobra.Command {
	o := &statusOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "status [RESTORE]",
		Short: "Show the tally of a roll call, and who has waited longest",
		Long: `Shows how many devices of a restore wait, are paused, are back and were withdrawn, and which have waited longest. Without an
id it is the newest restore that runs, or the newest there was. The tally always adds up to the number of devices that the
restore put on its roll.`,
		Example: `  starter status
  starter status after-outage -o json
  starter status --longest 50`,
		Args: cobra.MaximumNArgs(1),
		RunE: run(func(ctx context.Context, args []string) error { return o.run(ctx, strings.Join(args, "")) }),
	}
	cmd.Flags().IntVar(&o.longest, "longest", 10, "how many `devices` of those that have waited longest to list")
	o.output = bindFormat(cmd, outputJSON, outputYAML)
	return cmd
}

func (o *statusOptions) run(ctx context.Context, id string) error {
	if o.longest < 0 {
		return usagef("--longest %d: use 0 or more", o.longest)
	}
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	status, err := readStatus(ctx, store, id)
	if err != nil {
		return err
	}
	return o.output.print(o.io.Stdout, status, func(w io.Writer) error {
		waiting, err := o.waiting(ctx, store, status)
		if err != nil {
			return err
		}
		if err := printStatus(w, o.io.Now(), status, waiting); err != nil {
			return err
		}
		return o.printLink(w, status)
	})
}

func (o *statusOptions) printLink(w io.Writer, status runbook.RestoreStatus) error {
	link := o.webLink(runbook.RestoreWorkflowID(status.RestoreID))
	if link == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "web UI: %s\n", link)
	return err
}

// readStatus reads the tally of a restore; an empty id is the newest that runs, else the newest.
func readStatus(ctx context.Context, store *inventory.Store, id string) (runbook.RestoreStatus, error) {
	status, err := store.RestoreStatus(ctx, id)
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

func (o *statusOptions) waiting(ctx context.Context, store *inventory.Store, status runbook.RestoreStatus) ([]inventory.Waiting, error) {
	if o.longest == 0 || status.Waiting() == 0 {
		return nil, nil
	}
	waiting, err := store.LongestWaiting(ctx, status.RestoreID, o.longest)
	if err != nil {
		return nil, fmt.Errorf("read who has waited longest: %w", err)
	}
	return waiting, nil
}

func printStatus(w io.Writer, now time.Time, status runbook.RestoreStatus, waiting []inventory.Waiting) error {
	fmt.Fprintf(w, "restore %s: %s\nstarted  %s (%s)\n", status.RestoreID, status.State, stamp(status.StartedAt), ago(now, &status.StartedAt))
	if status.FinishedAt != nil {
		fmt.Fprintf(w, "finished %s (%s)\n", stamp(*status.FinishedAt), ago(now, status.FinishedAt))
	}
	rows := make([][]string, 0, len(runbook.States)+1)
	for _, s := range runbook.States {
		rows = append(rows, []string{string(s), fmt.Sprint(status.Counts[s])})
	}
	rows = append(rows, []string{"total", fmt.Sprint(status.Total)})
	fmt.Fprintln(w)
	if err := table(w, []string{"STATE", "DEVICES"}, rows); err != nil {
		return err
	}
	return printWaiting(w, now, status, waiting)
}

func printWaiting(w io.Writer, now time.Time, status runbook.RestoreStatus, waiting []inventory.Waiting) error {
	if len(waiting) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nwaited longest (%d of %d):\n", len(waiting), status.Waiting())
	rows := make([][]string, len(waiting))
	for i, d := range waiting {
		rows[i] = []string{d.Name, runbook.OrgName(d.OrgID), orNone(d.Fleet), string(d.State), ago(now, &d.Since), runbook.OrZero(d.Restored), d.Reported, ago(now, d.LastSeenBefore)}
	}
	if err := table(w, []string{"NAME", "ORG", "FLEET", "STATE", "SINCE", "RESTORED", "REPORTED", "LAST SEEN BEFORE"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nreview one: %s\n", command(waiting[0].OrgID, "describe", "device", waiting[0].Name))
	return err
}

// lower is a state in the middle of a sentence.
func lower[S ~string](state S) string { return strings.ToLower(string(state)) }
