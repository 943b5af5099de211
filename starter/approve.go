package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// enrollOptions are those of approve and deny, which put one human's decision to the workflows of enrollment requests.
type enrollOptions struct {
	*globals
	operator
	selectors
	output        *printer.Format
	names         []string
	all           bool
	labels        map[string]string
	replaceLabels bool
	// expectKey is the fingerprint of the key that the human looked at.
	expectKey string
	request
	dryRun  bool
	timeout time.Duration
	// deny makes the decision a denial, and remove has Flight Control delete the request.
	deny, remove bool
}

func newApproveCommand(g *globals) *cobra.Command {
	o := &enrollOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "approve (enrollmentrequest NAME... | er/NAME... | enrollmentrequests -l SELECTOR | enrollmentrequests --all)",
		Short: "Approve enrollment requests, so that their devices are let in",
		Long: `Approves pending enrollment requests: each device is put into the inventory with the labels of its request and,
before those, the labels that you give. --replace-labels gives it no others.
One that was in the backup, or that already runs a version, awaits its reconnect and is on the roll of the restore that
runs; any other begins normal. By name, selector or --all; every request gets its own answer.

A request whose key is not the one known under its name (KEY different in "starter get enrollmentrequests") is approved
by name only: whoever holds the new key becomes that device. It is asked for on a terminal; elsewhere --expect-key says
that you
know the key. Selectors and --all pass over it and say so.

With names, -l gives labels, as --label does. Without names it selects requests by their own labels (metadata.labels),
as Flight Control's lists do. The labels that a device asks for (spec.labels) are not among them: "starter describe er
NAME" shows those.

Exit code 0: all that matched were approved, or passed over. 3: nothing matched, or nothing was pending but what was
passed over. 4: some were refused, or it is not known whether they were approved. 6: it was interrupted,
and of some it is not known,
or they were not asked.`,
		Example: `  starter approve enrollmentrequest NAME --label site=berlin --reason "known device"
  starter approve -l site=berlin er/NAME er/NAME
  starter approve er/NAME --expect-key FINGERPRINT
  starter approve enrollmentrequests -l site=berlin --dry-run
  starter approve enrollmentrequests --all --label site=berlin,environment=production -o json --as alice`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(enrollmentRequestKind),
	}
	o.bind(cmd)
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every pending request of the organisation")
	cmd.Flags().StringToStringVar(&o.labels, "label", nil,
		"`label` that the device gets, as in site=berlin; may be repeated")
	cmd.Flags().BoolVar(&o.replaceLabels, "replace-labels", false, "give the device the labels of --label and no others")
	cmd.Flags().StringVar(&o.expectKey, "expect-key", "",
		"`fingerprint` of the key that you looked at, as describe shows it; refused if the request holds another (one "+
			"request only)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be approved, and change nothing")
	return cmd
}

func newDenyCommand(g *globals) *cobra.Command {
	o := &enrollOptions{globals: g, deny: true}
	cmd := &cobra.Command{
		Use: "deny (enrollmentrequest NAME... | enrollmentrequests -l SELECTOR | enrollmentrequests --field-selector " +
			"SELECTOR)",
		Short: "Deny enrollment requests, so that their devices are kept out",
		Long: `Denies pending enrollment requests. A denial stands: the agent is told and gives up. To let the device in after
all, delete the request and let it enroll again. By name or selector; every request gets its own answer,
and those that a selector matches
and that were decided before are left alone.

Exit code 0: all that matched were denied. 3: nothing matched, or nothing was pending. 4: some were refused, or it is
not known whether they were denied. 6: it was interrupted, and of some it is not known, or they were not asked.`,
		Example: `  starter deny enrollmentrequest NAME --reason "not ours"
  starter deny er/NAME --as alice
  starter deny er/NAME --delete --reason "not ours"
  starter deny enrollmentrequests -l site=nowhere --reason "not ours"`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(enrollmentRequestKind),
	}
	o.bind(cmd)
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.remove, "delete", false,
		"beside Flight Control: have it delete the request, as its API has no denial; refused where none runs beside")
	return cmd
}

func (o *enrollOptions) bind(cmd *cobra.Command) {
	o.operator.bind(cmd)
	o.request.bind(cmd)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 20*time.Second, "how long to wait for the answer of one request")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
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
	if err := o.labelsOfNames(cmd); err != nil {
		return err
	}
	if err := o.selectors.complete(cmd, enrollmentRequestKind); err != nil {
		return err
	}
	if err := errors.Join(o.validate(), checkLabels(o.labels), o.request.complete(cmd)); err != nil {
		return err
	}
	return o.operator.complete(o.io, cmd)
}

// labelsOfNames takes -l for labels where requests are named, as Flight Control's command line does.
func (o *enrollOptions) labelsOfNames(cmd *cobra.Command) error {
	flag := cmd.Flags().Lookup("selector")
	if o.deny || len(o.names) == 0 || !flag.Changed {
		return nil
	}
	for pair := range strings.SplitSeq(o.label, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return usagef("-l %s: with names it gives labels, as in -l site=berlin", o.label)
		}
		if o.labels == nil {
			o.labels = map[string]string{}
		}
		o.labels[key] = value
	}
	o.label, flag.Changed = "", false
	return nil
}

// validate refuses what no one can have meant, above all everything where no one asked for everything.
func (o *enrollOptions) validate() error {
	bulk := o.all || o.selectors.given()
	switch {
	case len(o.names) == 0 && o.deny && !bulk:
		return usagef("name the enrollment requests to deny, or select them with --selector or --field-selector")
	case len(o.names) > 0 && bulk:
		return usagef("name enrollment requests, or select them with --selector, --field-selector or --all, but not both")
	case len(o.names) == 0 && !bulk:
		return usagef("say which enrollment requests: name them, or use --selector, --field-selector or --all")
	case o.all && o.selectors.given():
		return usagef("--all cannot be used together with a selector")
	case o.expectKey != "" && len(o.names) != 1:
		return usagef("--expect-key is about one key: use it with the name of one request")
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
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	targets, left, err := o.targets(ctx, store, orgID)
	if err != nil {
		return err
	}
	report := printer.NewEnrollReport(o.deny, left)
	report.SetKeys(targets)
	if err := o.checkKeys(targets); err != nil {
		return err
	}
	if o.dryRun {
		report.Plan(targets)
		return finishReport(o.globals, o.output, report)
	}
	verb := "approve"
	if o.deny {
		verb = "deny"
	}
	restoreID, err := store.LastRestore(ctx, orgID)
	if err != nil {
		return err
	}
	command := []string{
		restoreID, orgID, o.as, o.reason, o.label, o.field, fmt.Sprint(o.all, o.replaceLabels, o.remove),
		printer.Pairs(o.labels),
	}
	journal, targets := goOn(o.globals, &o.request, &report.Outcomes, verb, command, o.names, targets,
		func(e inventory.EnrollmentPosition) string { return e.Name },
		func(e inventory.EnrollmentPosition, name, _ string) inventory.EnrollmentPosition {
			e.OrgID, e.Name, e.Exists = orgID, name, true
			return e
		})
	err = o.askAll(ctx, report, targets, journal)
	o.endJournal(journal, &report.Outcomes, err)
	if err != nil {
		return err
	}
	report.Interrupted = ctx.Err() != nil
	return finishReport(o.globals, o.output, report)
}

// targets are the requests to ask, ordered by name. One that was named is asked whatever its state, so that a refusal
// is kept, and whatever its key.
func (o *enrollOptions) targets(
	ctx context.Context, store *inventory.Store, orgID string,
) (targets []inventory.EnrollmentPosition, left printer.LeftOut, err error) {
	found, err := store.Enrollments(ctx, o.selectors.query(orgID, o.names))
	if err != nil {
		return nil, left, err
	}
	if len(o.names) == 0 {
		for _, e := range found {
			switch {
			case e.State != runbook.EnrollmentPending:
				left.Decided++
			case !o.deny && !e.Key.InBulk():
				left.DifferentKey = append(left.DifferentKey, e.Name)
			default:
				targets = append(targets, e)
			}
		}
		return targets, left, nil
	}
	known := make(map[string]inventory.EnrollmentPosition, len(found))
	for _, e := range found {
		known[e.Name] = e
	}
	for _, name := range o.names {
		e, ok := known[name]
		if !ok {
			e = inventory.EnrollmentPosition{OrgID: orgID, Name: name}
		}
		targets = append(targets, e)
	}
	return targets, left, nil
}

// checkKeys says what it means to approve a request whose key is another than the one known, and has it confirmed: on a
// terminal by a word, elsewhere by the key's fingerprint.
func (o *enrollOptions) checkKeys(targets []inventory.EnrollmentPosition) error {
	for i, e := range targets {
		if o.expectKey != "" && e.Exists {
			if err := runbook.ExpectedKey(e.Name, o.expectKey, e.Fingerprint); err != nil {
				return err
			}
			targets[i].Fingerprint = o.expectKey
		}
		warning := runbook.KeyWarning(e.Key)
		if warning == "" || o.deny || e.State != runbook.EnrollmentPending {
			continue
		}
		name := printer.OneLine(e.Name)
		fmt.Fprintf(o.io.Stderr, "warning: enrollmentrequest/%s: %s (key %s)\n", name, warning, printer.OrNone(e.Fingerprint))
		switch {
		case o.dryRun || o.expectKey != "":
		case !o.io.IsTerminal(o.io.Stderr):
			return usagef("enrollmentrequest/%s holds another key than the one known: say that you know it with --expect-key %s",
				name, printer.OrNone(e.Fingerprint))
		case !o.confirms("approve it all the same"):
			return fmt.Errorf("enrollmentrequest/%s: not approved", name)
		}
	}
	return nil
}

// confirms asks the person at the terminal to type yes.
func (o *enrollOptions) confirms(what string) bool {
	fmt.Fprintf(o.io.Stderr, "%s? Type yes: ", what)
	line, _ := bufio.NewReader(o.io.Stdin).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}

// askAll puts the decision to every target's workflow and the answers into the report.
func (o *enrollOptions) askAll(
	ctx context.Context, report *printer.EnrollReport, targets []inventory.EnrollmentPosition, journal *ask.Journal,
) error {
	if len(targets) == 0 {
		return nil
	}
	c, err := o.dialWorkers(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	in := runbook.DecisionInput{Act: runbook.ActDeny, OrgID: targets[0].OrgID}
	in.Details = runbook.DenyRequest{Delete: o.remove}.Details()
	if !o.deny {
		in.Act = runbook.ActApprove
		in.Details = runbook.ApproveRequest{Labels: o.labels, ReplaceLabels: o.replaceLabels}.Details()
	}
	for _, e := range targets {
		t := runbook.DecisionTarget{Name: e.Name}
		if !o.deny {
			t.Version = e.Fingerprint
		}
		in.Targets = append(in.Targets, t)
	}
	decided, err := o.operator.decide(ctx, o.globals, c, in)
	if err != nil {
		return err
	}
	a := &ask.Decider{
		Client: c, Queue: o.queue(), RequestID: o.requestID, Timeout: o.timeout, Decided: decided, Labels: o.labels,
		ReplaceLabels: o.replaceLabels, Deny: o.deny, Delete: o.remove, Journal: journal,
	}
	for i, answer := range ask.Each(ctx, o.io, targets, a.Ask) {
		report.Add(targets[i].Name, answer)
	}
	return nil
}
