package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/inventory"
	"rollcall/runbook"
)

// enrollOptions are those of approve and deny, which put one human's decision to the workflows of enrollment requests.
type enrollOptions struct {
	*globals
	operator
	selectors
	output    *format
	names     []string
	all       bool
	labels    map[string]string
	requestID string
	dryRun    bool
	timeout   time.Duration
	// deny makes the decision a denial.
	deny bool
}

func newApproveCommand(g *globals) *cobra.Command {
	o := &enrollOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "approve (enrollmentrequest NAME... | er/NAME... | enrollmentrequests -l SELECTOR | enrollmentrequests --all)",
		Short: "Approve enrollment requests, so that their devices are let in",
		Long: `Approves pending enrollment requests: each device is put into the inventory with the labels that you give, and no others.
One that was in the backup, or that already runs a version, awaits its reconnect and is on the roll of the restore that
runs; any other begins normal. By name, selector or --all; every request gets its own answer.

A request whose key is not the one known under its name (KEY different in "starter get enrollmentrequests") is approved by
name only, and with a warning: whoever holds the new key becomes that device. Selectors and --all pass over it and say so.

Exit code 0: all that matched were approved, or passed over. 3: nothing matched, or nothing was pending but what was passed
over. 4: some were refused, or it is not known whether they were approved.`,
		Example: `  starter approve enrollmentrequest NAME --label site=berlin --reason "known device"
  starter approve er/NAME er/NAME
  starter approve enrollmentrequests -l site=berlin --dry-run
  starter approve enrollmentrequests --all --label site=berlin,environment=production -o json --as alice`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(enrollmentRequestKind),
	}
	o.bind(cmd)
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every pending request of the organisation")
	cmd.Flags().StringToStringVar(&o.labels, "label", nil, "`label` that the device gets, as in site=berlin; may be repeated")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be approved, and change nothing")
	return cmd
}

func newDenyCommand(g *globals) *cobra.Command {
	o := &enrollOptions{globals: g, deny: true}
	cmd := &cobra.Command{
		Use:   "deny enrollmentrequest NAME...",
		Short: "Deny enrollment requests, so that their devices are kept out",
		Long: `Denies pending enrollment requests. A denial stands: the agent is told and gives up. To let the device in after all, delete
the request and let it enroll anew.

Exit code 0: all were denied. 3: there is no such request. 4: some were refused, or it is not known whether they were
denied.`,
		Example: `  starter deny enrollmentrequest NAME --reason "not ours"
  starter deny er/NAME --as alice`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(enrollmentRequestKind),
	}
	o.bind(cmd)
	return cmd
}

func (o *enrollOptions) bind(cmd *cobra.Command) {
	o.operator.bind(cmd)
	cmd.Flags().StringVar(&o.requestID, "request-id", "", "`id` of this decision; the same one again gets the first answer (default a new one)")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 20*time.Second, "how long to wait for the answer of one request")
	o.output = bindFormat(cmd, outputJSON, outputYAML)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if err := o.complete(cmd, args); err != nil {
			return err
		}
		return o.run(ctx)
	})
}

func (o *enrollOptions) complete(cmd *cobra.Command, args []string) error {
	_, names, err := parseTarget(args, enrollmentRequestKind)
	if err != nil {
		return err
	}
	o.names = distinct(names)
	if !o.deny {
		if err := o.selectors.complete(cmd, enrollmentRequestKind); err != nil {
			return err
		}
	}
	if !cmd.Flags().Changed("request-id") {
		o.requestID = uuid.NewString()
	}
	if err := errors.Join(o.validate(), checkLabels(o.labels)); err != nil {
		return err
	}
	return o.operator.complete(o.io, cmd)
}

// validate refuses what nobody can have meant, above all everything where nobody asked for everything.
func (o *enrollOptions) validate() error {
	bulk := o.all || o.selectors.given()
	switch {
	case len(o.names) == 0 && o.deny:
		return usagef("name the enrollment requests to deny")
	case len(o.names) > 0 && bulk:
		return usagef("name enrollment requests, or select them with --selector, --field-selector or --all, but not both")
	case len(o.names) == 0 && !bulk:
		return usagef("say which enrollment requests: name them, or use --selector, --field-selector or --all")
	case o.all && o.selectors.given():
		return usagef("--all cannot be used together with a selector")
	case o.requestID == "":
		return usagef("--request-id is empty")
	case o.timeout <= 0:
		return usagef("--timeout %s: use more than nothing", o.timeout)
	}
	return nil
}

// checkLabels refuses labels that no selector could find again.
func checkLabels(labels map[string]string) error {
	for key, value := range labels {
		if wrong := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
			return usagef("--label %s=%s: %s", key, value, strings.Join(wrong, "; "))
		}
	}
	return nil
}

func (o *enrollOptions) run(ctx context.Context) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.orgID(ctx, store)
	if err != nil {
		return err
	}
	targets, left, err := o.targets(ctx, store, orgID)
	if err != nil {
		return err
	}
	report := newEnrollReport(o.deny, left)
	o.warnOfKeys(targets)
	if o.dryRun {
		report.plan(targets)
	} else if err := o.askAll(ctx, report, targets); err != nil {
		return err
	}
	return o.finish(report)
}

// leftOut is what a selector matches but what is not asked.
type leftOut struct {
	// decided is the number of requests that were decided before.
	decided int
	// differentKey are the names of those whose key is not the one known, which need a decision of their own.
	differentKey []string
}

// targets are the requests to ask, ordered by name. One that was named is asked whatever its state, so that a refusal is
// kept, and whatever its key.
func (o *enrollOptions) targets(ctx context.Context, store *inventory.Store, orgID string) (targets []inventory.EnrollmentStanding, left leftOut, err error) {
	found, err := store.Enrollments(ctx, o.selectors.query(orgID, o.names))
	if err != nil {
		return nil, left, err
	}
	if len(o.names) == 0 {
		for _, e := range found {
			switch {
			case e.State != runbook.EnrollmentPending:
				left.decided++
			case !e.Key.InBulk():
				left.differentKey = append(left.differentKey, e.Name)
			default:
				targets = append(targets, e)
			}
		}
		return targets, left, nil
	}
	known := make(map[string]inventory.EnrollmentStanding, len(found))
	for _, e := range found {
		known[e.Name] = e
	}
	for _, name := range o.names {
		e, ok := known[name]
		if !ok {
			e = inventory.EnrollmentStanding{OrgID: orgID, Name: name}
		}
		targets = append(targets, e)
	}
	return targets, left, nil
}

// warnOfKeys says what it means to approve a request whose key is another than the one known.
func (o *enrollOptions) warnOfKeys(targets []inventory.EnrollmentStanding) {
	for _, e := range targets {
		if warning := runbook.KeyWarning(e.Key); warning != "" && !o.deny && e.State == runbook.EnrollmentPending {
			fmt.Fprintf(o.io.Stderr, "warning: enrollmentrequest/%s: %s\n", oneLine(e.Name), warning)
		}
	}
}
