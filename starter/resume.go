package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

type resumeOptions struct {
	*globals
	operator
	selectors
	output        *printer.Format
	names         []string
	all           bool
	expectVersion string
	request
	dryRun  bool
	timeout time.Duration
	plan    planRun
}

func newResumeCommand(g *globals) *cobra.Command {
	o := &resumeOptions{globals: g}
	cmd := &cobra.Command{
		Use: "resume (device NAME... | device/NAME... | devices -l SELECTOR | devices --field-selector SELECTOR | " +
			"devices --all)",
		Short: "Resume devices that are paused because they are ahead of the backup",
		Long: `Resumes devices that are ConflictPaused: each is rendered again, past the version that it runs. It is your
decision about the conflict that you saw, and is recorded with your name
and reason; a device that is not paused is left alone. By name,
selector or --all; every device gets its own answer.

With selectors or --all, "matched" counts the paused devices that match,
and "skipped" those that match but are not paused.
The paused devices are frozen as a plan, and a workflow that outlives this terminal carries it out. Each is resumed only
if it has still reported the version that was read when it was selected; a device that reports another meanwhile is
refused (VersionChanged). The command ends once each has answered. Interrupted, it leaves the plan to go on.

With --plan it carries out a plan that "starter plan resume" has made. With --waves, --per-site, --soak, --away-after,
--max-failures or --detach it makes the plan and follows it, and prints where the plan stands in the place of each
device's answer.

Of a plan or a selection that holds more than a quarter of the roll the count must be confirmed: it is asked for on a
terminal, and --confirm says it elsewhere. ROLLCALL_CONFIRM_ABOVE sets another share, such as 10%; 100% asks for none.

A resume of several devices that is interrupted is gone on with by the same command, under the same request id: who has
answered is not asked again, and a plan that still runs is followed. How far it has come is kept below
$XDG_STATE_HOME/rollcall for a day.

Exit code 0: all that matched were resumed. 3: nothing matched, or nothing was paused. 4: some were refused, or it is
not known whether they were resumed. 6: it was interrupted, and of some it is not known, or they were not asked.`,
		Example: `  starter resume device web-7 --reason "checked on site" --expect-version 7
  starter resume device/web-7 device/web-8
  starter resume devices -l environment=production --dry-run
  starter resume devices --field-selector="metadata.owner=Fleet/web" --reason "ticket 4711" -o json
  starter resume devices --all --as alice --confirm 12
  starter resume devices -l environment=production --waves 5,10%,100% --max-failures 2
  starter resume --plan ID --waves 5,10%,100% --soak 10m --max-failures 2
  starter resume --continue ID --reason "looked at web-7"`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.plan.given() {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	o.operator.bind(cmd)
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every paused device of the organisation")
	cmd.Flags().StringVar(&o.expectVersion, "expect-version", "",
		"reported `version` that you looked at; refused if the device has reported another since (one device only)")
	o.request.bind(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be resumed, and change nothing")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 20*time.Second, "how long to wait for the answer of one device")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	o.plan.bind(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if o.plan.given() {
			if err := o.completePlan(cmd); err != nil {
				return err
			}
			return o.runPlan(ctx)
		}
		if err := o.complete(cmd, args); err != nil {
			return err
		}
		if o.plan.rollout && !o.dryRun {
			return o.planAndRun(ctx)
		}
		return o.run(ctx)
	})
	return cmd
}

func (o *resumeOptions) complete(cmd *cobra.Command, args []string) error {
	_, names, err := parseTarget(args, deviceKind)
	if err != nil {
		return err
	}
	o.names, o.plan.rollout = distinct(names), changed(cmd, rolloutFlags) != ""
	if name := changed(cmd, []string{"expect-version", "request-id"}); o.plan.rollout && name != "" {
		return usagef("--%s does not go with a plan, which --%s makes", name, changed(cmd, rolloutFlags))
	}
	if err := o.selectors.complete(cmd, deviceKind); err != nil {
		return err
	}
	if err := o.validate(cmd.Flags().Changed("expect-version")); err != nil {
		return err
	}
	if err := o.request.complete(cmd); err != nil {
		return err
	}
	return o.operator.complete(o.io, cmd)
}

// validate refuses what no one can have meant, above all everything where no one asked for everything.
func (o *resumeOptions) validate(expects bool) error {
	bulk := o.all || o.selectors.given()
	switch {
	case len(o.names) > 0 && bulk:
		return usagef("name devices, or select them with --selector, --field-selector or --all, but not both")
	case len(o.names) == 0 && !bulk:
		return usagef("say which devices: name them, or use --selector, --field-selector or --all")
	case o.all && o.selectors.given():
		return usagef("--all cannot be used together with a selector")
	case expects && len(o.names) != 1:
		return usagef("--expect-version is about one conflict: use it with the name of one device")
	case expects && o.expectVersion == "":
		return usagef("--expect-version is empty: give the version that you looked at, such as 7")
	case o.timeout <= 0:
		return usagef("--timeout %s: use more than nothing", o.timeout)
	}
	if _, err := runbook.ParseVersion(o.expectVersion); err != nil {
		return usagef("--expect-version: %w", err)
	}
	return nil
}

func (o *resumeOptions) run(ctx context.Context) error {
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	targets, skipped, err := o.targets(ctx, store, orgID)
	if err != nil {
		return err
	}
	report := printer.NewResumeReport(orgID, skipped)
	if o.dryRun {
		lifecycles, err := readLifecycles(ctx, store, orgID, targets)
		if err != nil {
			return err
		}
		report.Plan(targets, lifecycles, o.expectVersion)
		return finishReport(o.globals, o.output, report)
	}
	restoreID, err := store.LastRestore(ctx, orgID)
	if err != nil {
		return err
	}
	command := []string{orgID, o.as, o.reason, o.label, o.field, fmt.Sprint(o.all)}
	journal, targets := goOn(o.globals, &o.request, &report.Outcomes, "resume", append([]string{restoreID}, command...),
		o.names, targets, func(d inventory.DevicePosition) string { return d.Name }, againDevice(orgID))
	switch {
	case len(o.names) > 0 && o.plan.confirm != 0 && o.plan.confirm != int64(len(targets)):
		err = usagef("--confirm %d: %s are named", o.plan.confirm, printer.Count(len(targets), "device"))
	case len(o.names) > 0:
		err = o.askAll(ctx, store, report, targets, journal)
	case len(targets) > 0 || journal.GoesOn() || !o.generated:
		err = o.resumeSelected(ctx, store, orgID, report, targets, command)
	}
	o.endJournal(journal, &report.Outcomes, err)
	if err != nil {
		return err
	}
	report.Interrupted = ctx.Err() != nil
	return finishReport(o.globals, o.output, report)
}

// confirmSelected has the count of selected devices confirmed where they are a large share of their roll, before a plan
// of them is made. Who names devices knows how many they are.
func (o *resumeOptions) confirmSelected(
	ctx context.Context, store *inventory.Store, targets []inventory.DevicePosition,
) error {
	status, err := store.RestoreStatus(ctx, targets[0].RestoreID)
	if err != nil {
		return err
	}
	return o.confirmed("the selection", int64(len(targets)), status.Total)
}

// targets are the devices to ask, ordered by name. skipped is the number of those that match a selector but are not
// paused; a device that was named is asked whatever its state, so that a refusal is put on its timeline.
func (o *resumeOptions) targets(
	ctx context.Context, store *inventory.Store, orgID string,
) (targets []inventory.DevicePosition, skipped int, err error) {
	found, err := store.Position(ctx, o.selectors.query(orgID, o.names))
	if err != nil {
		return nil, 0, err
	}
	if len(o.names) > 0 {
		return withMissing(found, orgID, o.names), 0, nil
	}
	for _, d := range found {
		if d.State == runbook.StateConflictPaused {
			targets = append(targets, d)
		} else {
			skipped++
		}
	}
	return targets, skipped, nil
}

// withMissing puts the names that the inventory does not hold among those that it does, in the order in which they were
// named: a workflow may still wait for a device that was deleted.
func withMissing(found []inventory.DevicePosition, orgID string, names []string) []inventory.DevicePosition {
	known := make(map[string]inventory.DevicePosition, len(found))
	for _, d := range found {
		known[d.Name] = d
	}
	targets := make([]inventory.DevicePosition, len(names))
	for i, name := range names {
		d, ok := known[name]
		if !ok {
			d = inventory.DevicePosition{OrgID: orgID, Name: name}
		}
		targets[i] = d
	}
	return targets
}

// askAll asks the workflow of every target that was named and puts the answers into the report.
func (o *resumeOptions) askAll(
	ctx context.Context, store *inventory.Store, report *printer.ResumeReport, targets []inventory.DevicePosition,
	journal *ask.Journal,
) error {
	if len(targets) == 0 {
		return nil
	}
	c, err := o.dialWorkers(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	decided, err := o.operator.decide(ctx, o.globals, c, runbook.DecisionInput{
		Act: runbook.ActResume, OrgID: targets[0].OrgID, Targets: o.decisionTargets(targets),
	})
	if err != nil {
		return err
	}
	a := &ask.Resumer{
		Client: c, Store: store, RequestID: o.requestID, Timeout: o.timeout,
		StartUntil: time.Now().Add(ask.StartTimeout),
		Request:    runbook.ResumeRequest{ExpectVersion: o.expectVersion}, Decided: decided,
		Journal: journal,
	}
	for i, answer := range ask.Each(ctx, o.io, targets, a.Ask) {
		answer.Restored = runbook.OrZero(answer.Restored)
		report.Add(targets[i], answer)
	}
	return nil
}

// decisionTargets are the devices with the versions that each one's message expects.
func (o *resumeOptions) decisionTargets(targets []inventory.DevicePosition) []runbook.DecisionTarget {
	all := make([]runbook.DecisionTarget, len(targets))
	for i, d := range targets {
		all[i] = runbook.DecisionTarget{Name: d.Name, Version: o.expectVersion}
	}
	return all
}

// readLifecycles reads the status.lifecycle.status of devices, by name.
func readLifecycles(
	ctx context.Context, store *inventory.Store, orgID string, targets []inventory.DevicePosition,
) (map[string]string, error) {
	lifecycles := make(map[string]string, len(targets))
	if len(targets) == 0 {
		return lifecycles, nil
	}
	names := make([]string, len(targets))
	for i, d := range targets {
		names[i] = d.Name
	}
	devices, err := store.Devices(ctx, inventory.Query{OrgID: orgID, Names: names})
	if err != nil {
		return nil, fmt.Errorf("read the devices' lifecycles: %w", err)
	}
	for _, d := range devices {
		lifecycles[d.Metadata.Name] = printer.ReadDeviceStatus(d.Status).Lifecycle.Status
	}
	return lifecycles, nil
}
