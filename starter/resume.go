package main

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
)

type resumeOptions struct {
	*globals
	operator
	selectors
	output        *format
	names         []string
	all           bool
	expectVersion string
	requestID     string
	dryRun        bool
	timeout       time.Duration
}

func newResumeCommand(g *globals) *cobra.Command {
	o := &resumeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "resume (device NAME... | device/NAME... | devices -l SELECTOR | devices --field-selector SELECTOR | devices --all)",
		Short: "Resume devices that are paused because they are ahead of the backup",
		Long: `Resumes devices that are ConflictPaused: each is rendered anew, past the version that it runs. It is your decision about the
conflict that you saw, and is recorded with your name and reason; a device that is not paused is left alone. By name,
selector or --all; every device gets its own answer.

With selectors or --all, "matched" counts the paused devices that match, and "skipped" those that match but are not paused.
Each is then resumed only if it has still reported the version that was read when it was selected; a device that reports
another meanwhile is refused (VersionChanged).

Exit code 0: all that matched were resumed. 3: nothing matched, or nothing was paused. 4: some were refused, or it is not
known whether they were resumed.`,
		Example: `  starter resume device web-7 --reason "checked on site" --expect-version 7
  starter resume device/web-7 device/web-8
  starter resume devices -l environment=production --dry-run
  starter resume devices --field-selector="metadata.owner=Fleet/web" --reason "ticket 4711" -o json
  starter resume devices --all --as alice`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	o.operator.bind(cmd)
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every paused device of the organisation")
	cmd.Flags().StringVar(&o.expectVersion, "expect-version", "", "reported `version` that you looked at; refused if the device has reported another since (one device only)")
	cmd.Flags().StringVar(&o.requestID, "request-id", "", "`id` of this decision; the same one again gets the first answer (default a new one)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be resumed, and change nothing")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 20*time.Second, "how long to wait for the answer of one device")
	o.output = bindFormat(cmd, outputJSON, outputYAML)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if err := o.complete(cmd, args); err != nil {
			return err
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
	o.names = distinct(names)
	if err := o.selectors.complete(cmd, deviceKind); err != nil {
		return err
	}
	if !cmd.Flags().Changed("request-id") {
		o.requestID = uuid.NewString()
	}
	if err := o.validate(cmd.Flags().Changed("expect-version")); err != nil {
		return err
	}
	return o.operator.complete(o.io, cmd)
}

// validate refuses what nobody can have meant, above all everything where nobody asked for everything.
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
	case o.requestID == "":
		return usagef("--request-id is empty")
	case o.timeout <= 0:
		return usagef("--timeout %s: use more than nothing", o.timeout)
	}
	if _, err := runbook.ParseVersion(o.expectVersion); err != nil {
		return usagef("--expect-version: %w", err)
	}
	return nil
}

func (o *resumeOptions) run(ctx context.Context) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.orgID(ctx, store)
	if err != nil {
		return err
	}
	targets, skipped, err := o.targets(ctx, store, orgID)
	if err != nil {
		return err
	}
	report := newResumeReport(orgID, skipped)
	if o.dryRun {
		lifecycles, err := readLifecycles(ctx, store, orgID, targets)
		if err != nil {
			return err
		}
		report.plan(targets, lifecycles, o.expectVersion)
	} else if err := o.askAll(ctx, store, report, targets); err != nil {
		return err
	}
	return o.finish(report)
}

// targets are the devices to ask, ordered by name. skipped is the number of those that match a selector but are not paused;
// a device that was named is asked whatever its state, so that a refusal is put on its timeline.
func (o *resumeOptions) targets(ctx context.Context, store *inventory.Store, orgID string) (targets []inventory.DeviceStanding, skipped int, err error) {
	found, err := store.Standing(ctx, o.selectors.query(orgID, o.names))
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
func withMissing(found []inventory.DeviceStanding, orgID string, names []string) []inventory.DeviceStanding {
	known := make(map[string]inventory.DeviceStanding, len(found))
	for _, d := range found {
		known[d.Name] = d
	}
	targets := make([]inventory.DeviceStanding, len(names))
	for i, name := range names {
		d, ok := known[name]
		if !ok {
			d = inventory.DeviceStanding{OrgID: orgID, Name: name}
		}
		targets[i] = d
	}
	return targets
}
