package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
	"rollcall/starter/review"
)

type describeOptions struct {
	*globals
	output *printer.Format
}

func newDescribeCommand(g *globals) *cobra.Command {
	o := &describeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "describe (device|enrollmentrequest|fleet|restore) NAME",
		Short: "Review one device, enrollment request, fleet or restore before you decide",
		Long: `Shows what you need to decide about one resource, and the commands to run next. None of them would be refused
as things stand.

Of a device it shows its state and since when, three versions (restored: as the restore found it; reported: as the
device has
said since; rendered: what the service has rendered last), when the device was last seen before the restore and since,
who
owns it and whether its labels still say so, the spec that would be applied, and its story: every message
and what came of
it. The story comes from the audit, over all restores; the device's workflow adds what is not there yet. A device can be
named by its alias.

Of an enrollment request it shows the key and how its device would begin, of a fleet where its devices stand,
of a restore
its tally.`,
		Example: `  starter describe device web-7
  starter describe device/web-7 -o yaml
  starter describe er/NAME
  starter describe fleet web
  starter describe restore after-outage`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind, enrollmentRequestKind, fleetKind),
		RunE:              run(o.run),
	}
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	return cmd
}

func (o *describeOptions) run(ctx context.Context, args []string) error {
	kind, names, err := parseTarget(args, deviceKind, enrollmentRequestKind, fleetKind, restoreKind)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return usagef("name one %s: %s NAME, or %s/NAME", kind.singular, kind.singular, kind.singular)
	}
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if kind.object == restoreKind.object {
		return o.restore(ctx, store, names[0])
	}
	orgID, err := o.orgID(ctx, store)
	if err != nil {
		return err
	}
	switch kind.object {
	case fleetKind.object:
		return o.fleet(ctx, store, orgID, names[0])
	case enrollmentRequestKind.object:
		return o.request(ctx, store, orgID, names[0])
	}
	return o.device(ctx, store, orgID, names[0])
}

func (o *describeOptions) fleet(ctx context.Context, store *inventory.Store, orgID, name string) error {
	f, err := review.ReadFleet(ctx, store, orgID, name)
	switch {
	case err != nil:
		return err
	case f == nil:
		return notThere(fleetKind, orgID, name)
	}
	return o.output.Print(o.io.Stdout, f, f.Text)
}

func (o *describeOptions) request(ctx context.Context, store *inventory.Store, orgID, name string) error {
	r, err := review.ReadRequest(ctx, store, orgID, name)
	switch {
	case err != nil:
		return err
	case r == nil:
		return notThere(enrollmentRequestKind, orgID, name)
	}
	r.WebUI = o.webLink(r.WorkflowID)
	return o.output.Print(o.io.Stdout, r, func(w io.Writer) error { return r.Text(w, o.io.Now()) })
}

// restore shows what status shows, and what to do next.
func (o *describeOptions) restore(ctx context.Context, store *inventory.Store, id string) error {
	s := statusOptions{globals: o.globals, longest: defaultLongest}
	orgID, err := o.scope(ctx, store)
	if err != nil {
		return err
	}
	status, err := readStatus(ctx, store, id, orgID)
	if err != nil {
		return err
	}
	view := printer.RestoreView{RestoreStatus: status, Warning: s.warning(ctx, status)}
	r, err := review.ReadRestore(ctx, store, view)
	if err != nil {
		return err
	}
	r.WebUI = o.webLink(r.WorkflowID)
	return o.output.Print(o.io.Stdout, r, func(w io.Writer) error {
		waiting, err := s.waiting(ctx, store, status, orgID)
		if err != nil {
			return err
		}
		return r.Text(w, o.io.Now(), waiting)
	})
}

func notThere(k kind, orgID, name string) error {
	return fmt.Errorf("%s %q: not found in organisation %s", k.singular, name, runbook.OrgName(orgID))
}

func (o *describeOptions) device(ctx context.Context, store *inventory.Store, orgID, nameOrAlias string) error {
	name, err := o.named(ctx, store, orgID, nameOrAlias)
	if err != nil {
		return err
	}
	r, err := o.review(ctx, store, orgID, name)
	if err != nil {
		return err
	}
	if name != nameOrAlias {
		r.Alias = nameOrAlias
	}
	return o.output.Print(o.io.Stdout, r, func(w io.Writer) error { return r.Text(w, o.io.Now()) })
}

// named is the name of the device that is called so. A name that no device has may be that of one that is gone.
func (o *describeOptions) named(
	ctx context.Context, store *inventory.Store, orgID, nameOrAlias string,
) (string, error) {
	names, err := store.NamesOf(ctx, orgID, nameOrAlias)
	switch {
	case err != nil:
		return "", err
	case len(names) > 1:
		return "", fmt.Errorf("several devices have the alias %q: name one of %s", nameOrAlias, strings.Join(names, ", "))
	case len(names) == 1:
		return names[0], nil
	}
	return nameOrAlias, nil
}

// review collects everything. A device that is gone from the inventory can still be reviewed while its workflow waits,
// or a roll has it. The story is the audit's; the workflow adds to it what is not there yet.
func (o *describeOptions) review(
	ctx context.Context, store *inventory.Store, orgID, name string,
) (*review.Review, error) {
	r := &review.Review{Name: name, OrgID: orgID, WorkflowID: runbook.DeviceWorkflowID(orgID, name)}
	found, err := r.ReadDevice(ctx, store)
	if err != nil {
		return nil, err
	}
	if err := r.ReadAudit(ctx, store); err != nil {
		return nil, err
	}
	status, err := o.ask(ctx, r.WorkflowID)
	switch {
	case err == nil:
		r.TakeStory(status, found)
	case !found:
		return nil, notThere(deviceKind, orgID, name)
	default:
		r.WorkflowNote = whyNoStory(err)
	}
	r.Commands, r.WebUI = r.Suggest(), o.webLink(r.WorkflowID)
	return r, nil
}

// ask lets the device's workflow tell its story.
func (o *describeOptions) ask(ctx context.Context, workflowID string) (status runbook.DeviceStatus, err error) {
	c, err := o.dial(ctx)
	if err != nil {
		return status, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, ask.QueryTimeout)
	defer cancel()
	return status, ask.Query(ctx, c, workflowID, runbook.QueryState, &status)
}

// whyNoStory says for people why the workflow has added nothing to the story.
func whyNoStory(err error) string {
	switch {
	case ask.IsNotFound(err):
		return "there is none"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer; is a worker running?"
	}
	return err.Error()
}

func newExplainCommand(g *globals) *cobra.Command {
	o := &describeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "explain device NAME",
		Short: "Say what a device waits for, since when, and who or what can end that",
		Long: `Says what a device waits for, since when and why, and who or what can end the wait, with the commands that they
type. It also says when nothing goes on because no worker or no workflow runs the restore.`,
		Example: `  starter explain device web-7
  starter explain device/web-7 -o json`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
		RunE:              run(o.explain),
	}
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	return cmd
}

func (o *describeOptions) explain(ctx context.Context, args []string) error {
	name, err := parseDevice(args)
	if err != nil {
		return err
	}
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if name, err = o.named(ctx, store, orgID, name); err != nil {
		return err
	}
	e, err := o.explanation(ctx, store, orgID, name)
	if err != nil {
		return err
	}
	return o.output.Print(o.io.Stdout, e, func(w io.Writer) error { return e.Text(w, o.io.Now()) })
}

// explanation is that of a device, or of a pending enrollment request of that name.
func (o *describeOptions) explanation(
	ctx context.Context, store *inventory.Store, orgID, name string,
) (review.Explanation, error) {
	r, err := o.review(ctx, store, orgID, name)
	if err != nil {
		q := inventory.Query{OrgID: orgID, Names: []string{name}}
		requests, requestsErr := store.EnrollmentRequests(ctx, q)
		standing, standingErr := store.Enrollments(ctx, q)
		if requestsErr != nil || standingErr != nil || len(requests)*len(standing) == 0 ||
			standing[0].State != runbook.EnrollmentPending {
			return review.Explanation{}, err
		}
		return review.ExplainPending(name, orgID, requests[0].Metadata.CreationTimestamp), nil
	}
	e := r.Explain()
	if r.RestoreID != "" && r.State.Open() {
		e.Warning = o.warning(ctx, runbook.RestoreStatus{RestoreID: r.RestoreID, State: runbook.RestoreRunning})
	}
	return e, nil
}
