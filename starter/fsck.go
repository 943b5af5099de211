package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"rollcall/activities"
	"rollcall/flightctl"
	"rollcall/internal/host"
	"rollcall/internal/invariants"
	"rollcall/internal/settings"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

type fsckOptions struct {
	*globals
	operator
	output       *printer.Format
	repair       bool
	settle       time.Duration
	databaseOnly bool
}

func newFsckCommand(g *globals) *cobra.Command {
	o := &fsckOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check that audit, roll, devices and workflows agree",
		Long: `Checks the promises of a roll call: the audit holds only transitions of the table, each conflict was ended by
one person's decision, the counts add up, nothing is rendered for a device that waits, and every wait has a workflow.
What disagrees for a moment only, because it is being written, is not reported. It changes nothing. Secrets that are in
its environment (the password of the database URL, TEMPORAL_API_KEY, ROLLCALL_FLIGHTCTL_TOKEN and
ROLLCALL_FLIGHTCTL_KV_PASSWORD, or their files) and that have at least 12 bytes are looked for in Rollcall's tables, in
the events, in the lists of workflows, and in the histories of restores that run. With --repair it
takes up restores that no workflow runs, which starts the workflows that are missing below them, starts the workflows of
devices that are missing below a restore that runs, and changes nothing else. With --org it reports what concerns that
organisation or all of them, and --repair takes up no restore but its own.

Exit code 0: nothing is wrong. 5: something is.`,
		Example: `  starter fsck
  starter fsck --repair
  starter fsck --database-only -o json`,
		Args: cobra.NoArgs,
	}
	o.bindAs(cmd)
	cmd.Flags().BoolVar(&o.repair, "repair", false, "start workflows that are missing")
	cmd.Flags().BoolVar(&o.databaseOnly, "database-only", false, "leave out what only Temporal can tell")
	cmd.Flags().DurationVar(&o.settle, "settle", invariants.DefaultSettle,
		"how long a disagreement must last before it is reported")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		switch {
		case o.repair && o.databaseOnly:
			return usagef("--repair starts workflows, so that it cannot be used with --database-only")
		case o.settle < 0:
			return usagef("--settle %s: use 0 or more", o.settle)
		}
		if err := o.operator.complete(o.io, cmd); err != nil {
			return err
		}
		return o.run(ctx)
	})
	return cmd
}

// fsckReport is what `fsck -o json` prints.
type fsckReport struct {
	Violations []invariants.Violation `json:"violations"`
	// Repaired are the restores that were taken up again.
	Repaired []string `json:"repaired,omitempty"`
	// Started are the devices whose workflows were started.
	Started []startedDevice `json:"started,omitempty"`
	// Incomplete reports whether an error has ended the checks early.
	Incomplete bool `json:"incomplete,omitempty"`
}

func (r fsckReport) isEmpty() bool { return len(r.Violations)+len(r.Repaired)+len(r.Started) == 0 }

// startedDevice is a device whose workflow was missing below a restore that runs.
type startedDevice struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
}

func (o *fsckOptions) run(ctx context.Context) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	checker := invariants.Checker{DB: store.DB(), Settle: o.settle}
	if checker.Secrets, err = o.secrets(); err != nil {
		return err
	}
	if checker.OrgID, err = o.scope(ctx, store); err != nil {
		return err
	}
	if o.settle == 0 {
		checker.Settle = -1
	}
	report := fsckReport{Violations: []invariants.Violation{}}
	err = o.inspect(ctx, store, checker, &report)
	if report.Incomplete = err != nil; report.Incomplete && report.isEmpty() {
		return err
	}
	if err := errors.Join(err, o.output.Print(o.io.Stdout, report, report.text)); err != nil {
		return err
	}
	if len(report.Violations) > 0 {
		return &exitError{code: printer.ExitViolations}
	}
	return nil
}

// inspect fills the report. With an error, the report has what was found and done before.
func (o *fsckOptions) inspect(
	ctx context.Context, store *inventory.Store, checker invariants.Checker, report *fsckReport,
) error {
	if !o.databaseOnly {
		c, err := o.dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		checker.Temporal = c
		if o.repair {
			found, err := checker.Check(ctx)
			if err == nil {
				err = o.mend(ctx, store, c, found, report)
			}
			if err != nil {
				report.Violations = append(report.Violations, found...)
				return err
			}
		}
	}
	found, err := checker.Check(ctx)
	report.Violations = append(report.Violations, found...)
	return err
}

// mend starts what is missing of what was found. With --org it takes up no restore of all organisations.
func (o *fsckOptions) mend(
	ctx context.Context, store *inventory.Store, c client.Client, found []invariants.Violation, report *fsckReport,
) (err error) {
	limit, err := o.scope(ctx, store)
	if err != nil {
		return err
	}
	report.Repaired, err = repairRestores(found, limit, func(id, orgID string) error {
		again := ask.Restore{ID: id, By: o.as, OrgRef: orgID, Queue: o.queue(), WatchInterval: runbook.DefaultWatchInterval}
		_, err := again.StartOrTakeUp(ctx, store, c, orgID)
		return err
	})
	if err != nil {
		return err
	}
	report.Started, err = o.startDevices(ctx, store, c, found, report.Repaired)
	return err
}

// secrets are the values of the secret settings that the command finds in its own environment.
func (o *fsckOptions) secrets() ([]string, error) {
	address, err := o.database()
	if err != nil {
		return nil, err
	}
	password, err := inventory.PasswordOf(address)
	if err != nil {
		return nil, err
	}
	found := []string{password}
	for _, name := range []string{host.EnvAPIKey, flightctl.EnvToken, flightctl.EnvStorePassword} {
		value, err := settings.Read(o.io.Env, name)
		if err != nil {
			return nil, err
		}
		found = append(found, value)
	}
	return found, nil
}

// repairRestores takes up each restore that no workflow runs, once. With an organisation it takes up its own alone.
func repairRestores(
	found []invariants.Violation, limit string, takeUp func(id, orgID string) error,
) (repaired []string, err error) {
	for _, v := range found {
		if !v.Missing || v.WorkflowID != runbook.RestoreWorkflowID(v.RestoreID) ||
			limit != "" && v.OrgID != limit {
			continue
		}
		if err := takeUp(v.RestoreID, v.OrgID); err != nil {
			return repaired, err
		}
		repaired = append(repaired, v.RestoreID)
	}
	return repaired, nil
}

// startDevices starts the workflows of devices that a running restore waits for. Those of a restore that was taken up
// just now are started by it.
func (o *fsckOptions) startDevices(
	ctx context.Context, store *inventory.Store, c client.Client, found []invariants.Violation, takenUp []string,
) (started []startedDevice, err error) {
	for _, v := range found {
		if !v.Missing || v.Name == "" || slices.Contains(takenUp, v.RestoreID) {
			continue
		}
		entry, err := store.WaitingEntry(ctx, v.RestoreID, v.OrgID, v.Name)
		if err != nil {
			return started, err
		}
		if entry == nil {
			continue // it has left the roll call meanwhile
		}
		if err := activities.StartDevice(ctx, c, o.queue(), v.RestoreID,
			"started again by starter fsck", *entry); err != nil {
			return started, err
		}
		started = append(started, startedDevice{v.RestoreID, v.OrgID, v.Name})
	}
	return started, nil
}

func (r fsckReport) text(w io.Writer) error {
	for _, id := range r.Repaired {
		fmt.Fprintf(w, "restore %s was taken up again\n", printer.OneLine(id))
	}
	for _, d := range r.Started {
		fmt.Fprintf(w, "the workflow of device %s (organisation %s) in restore %s was started\n",
			printer.OneLine(d.Name), runbook.OrgName(d.OrgID), printer.OneLine(d.RestoreID))
	}
	for _, v := range r.Violations {
		restore := printer.OneLine(v.RestoreID)
		where := "restore " + restore + ": "
		switch {
		case v.Name != "":
			where = fmt.Sprintf("device %s (organisation %s) in restore %s: ", printer.OneLine(v.Name), runbook.OrgName(v.OrgID),
				restore)
		case v.RestoreID == "":
			where = ""
		}
		fmt.Fprintf(w, "%s: %s%s\n", v.Invariant, where, printer.OneLine(v.Message))
		if v.Entry != 0 {
			fmt.Fprintf(w, "    entry %d of rollcall.transitions\n", v.Entry)
		}
		if v.WorkflowID != "" {
			fmt.Fprintf(w, "    workflow %s\n", printer.OneLine(v.WorkflowID))
		}
	}
	if r.Incomplete {
		_, err := fmt.Fprintf(w, "%s; not everything could be checked\n", printer.Count(len(r.Violations), "violation"))
		return err
	}
	if len(r.Violations) == 0 {
		_, err := fmt.Fprintln(w, "nothing is wrong")
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n", printer.Count(len(r.Violations), "violation"))
	return err
}
