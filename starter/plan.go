package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/inventory/plans"
	"rollcall/inventory/specdiff"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
	"rollcall/starter/review"
)

// newPlanCommand groups what concerns plans: decisions about many devices that are looked at first and carried out
// later.
func newPlanCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Freeze a set of paused devices, to be resumed as one decision",
		Long: `A plan is a decision about many devices. "plan resume" freezes the set: which devices, and the version that
each has reported. "resume --plan ID" carries it out, in waves if you like,
as a workflow that outlives this terminal. A device that has
reported another version since is refused by name.`,
		Example: `  starter plan resume devices -l environment=production --reason "ticket 4711"
  starter resume --plan ID --waves 5,10%,100% --soak 10m --max-failures 2
  starter plan show ID`,
	}
	cmd.AddCommand(newPlanResumeCommand(g), newPlanShowCommand(g), newPlanListCommand(g))
	return cmd
}

type planResumeOptions struct {
	*globals
	operator
	selectors
	output  *printer.Format
	names   []string
	all     bool
	id      string
	expires time.Duration
}

func newPlanResumeCommand(g *globals) *cobra.Command {
	o := &planResumeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "resume (device NAME... | devices -l SELECTOR | devices --field-selector SELECTOR | devices --all)",
		Short: "Freeze which paused devices to resume, and show what it would do",
		Long: `Freezes the paused devices that match, with the version that each has reported, under an id that expires.
Nothing is resumed until "starter resume --plan ID". Exit code 3: nothing that matched is paused.`,
		Example: `  starter plan resume devices -l environment=production --reason "ticket 4711"
  starter plan resume devices --all --expires 30m -o json`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	o.operator.bind(cmd)
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every paused device of the organisation")
	cmd.Flags().StringVar(&o.id, "id", "", "`id` of the plan (default a new one)")
	cmd.Flags().DurationVar(&o.expires, "expires", time.Hour, "how long the plan may be started")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if err := o.complete(cmd, args); err != nil {
			return err
		}
		return o.run(ctx)
	})
	return cmd
}

func (o *planResumeOptions) complete(cmd *cobra.Command, args []string) error {
	_, names, err := parseTarget(args, deviceKind)
	if err != nil {
		return err
	}
	o.names = distinct(names)
	if err := o.selectors.complete(cmd, deviceKind); err != nil {
		return err
	}
	if o.id == "" {
		o.id = newPlanID()
	}
	bulk := o.all || o.selectors.given()
	switch {
	case (len(o.names) > 0) == bulk:
		return usagef("say which devices: name them, or use --selector, --field-selector or --all")
	case o.all && o.selectors.given():
		return usagef("--all cannot be used together with a selector")
	case o.expires <= 0:
		return usagef("--expires %s: use more than nothing", o.expires)
	}
	if err := runbook.CheckRestoreID(o.id); err != nil { // the same characters fit into a workflow id
		return usagef("--id %q: take 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
			o.id)
	}
	return o.operator.complete(o.io, cmd)
}

// newPlanID is an id that no other plan has.
func newPlanID() string { return strings.ToLower(rand.Text()[:8]) }

func (o *planResumeOptions) run(ctx context.Context) error {
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	set, err := o.freeze(ctx, store, orgID)
	if err != nil {
		return err
	}
	share, err := ask.ConfirmAbove(o.io)
	if err != nil {
		return usagef("%w", err)
	}
	if err := o.store(ctx, store, set); err != nil {
		return err
	}
	return o.output.Print(o.io.Stdout, set, func(w io.Writer) error { return set.Text(w, share) })
}

// freeze reads which devices the plan holds. That there is none ends the command.
func (o *planResumeOptions) freeze(
	ctx context.Context, store *inventory.Store, orgID string,
) (set review.PlannedSet, err error) {
	q := o.selectors.query(orgID, o.names)
	found, err := store.Position(ctx, q)
	if err != nil {
		return set, err
	}
	for _, name := range o.names {
		if !slices.ContainsFunc(found, func(d inventory.DevicePosition) bool { return d.Name == name }) {
			return set, notThere(deviceKind, orgID, name)
		}
	}
	set = review.Freeze(o.id, orgID, o.reason, o.io.Now().Add(o.expires).UTC(), found)
	if len(set.Devices) == 0 {
		fmt.Fprintf(o.io.Stderr, "nothing to plan: %s matched, none of them paused\n", printer.Count(set.Skipped, "device"))
		return set, &exitError{code: printer.ExitNothing}
	}
	status, err := store.RestoreStatus(ctx, set.RestoreID)
	if err != nil {
		return set, err
	}
	set.OnRoll = status.Total
	set.Changes, err = o.changes(ctx, store, q, set)
	return set, err
}

// changes are what `diff` shows of the plan's devices.
func (o *planResumeOptions) changes(
	ctx context.Context, store *inventory.Store, q inventory.Query, set review.PlannedSet,
) ([]specdiff.Group, error) {
	devices, err := store.Devices(ctx, q)
	if err != nil {
		return nil, err
	}
	fleets, err := store.Fleets(ctx, inventory.Query{OrgID: q.OrgID})
	if err != nil {
		return nil, err
	}
	devices = slices.DeleteFunc(devices, func(d inventory.Resource) bool { return !set.Holds(d.Metadata.Name) })
	return compare(devices, fleets).Groups, nil
}

// store stores the plan, with who makes it.
func (o *planResumeOptions) store(ctx context.Context, store *inventory.Store, set review.PlannedSet) error {
	decided, err := o.decidePlan(ctx, set.OrgID)
	if err != nil {
		return err
	}
	plan := plans.New{
		ID: o.id, OrgID: set.OrgID, RestoreID: set.RestoreID, By: decided.By, Reason: o.reason, ExpiresIn: o.expires,
		DecisionID: decided.ID(o.id),
	}
	for _, d := range set.Devices {
		plan.Devices = append(plan.Devices, plans.Planned{Name: d.Name, Reported: d.ReportedVersion})
	}
	return plans.Plans{DB: store.DB()}.Create(ctx, plan)
}

// decidePlan records who makes the plan, where the server may know its caller. A plan of a caller that it cannot know
// needs no Temporal.
func (o *planResumeOptions) decidePlan(ctx context.Context, orgID string) (ask.Decided, error) {
	p, err := o.person(o.io)
	if err != nil || !p.Known {
		return ask.Decided{By: o.as, Reason: o.reason}, err
	}
	c, err := o.dialWorkers(ctx)
	if err != nil {
		return ask.Decided{}, err
	}
	defer c.Close()
	return o.operator.decide(ctx, o.globals, c, runbook.DecisionInput{
		Act: runbook.ActPlan, OrgID: orgID, Targets: []runbook.DecisionTarget{{Name: o.id}},
	})
}

// shownPlan is what `plan show -o json` prints.
type shownPlan struct {
	plans.Plan
	Tally   runbook.PlanTally `json:"tally"`
	Answers []plans.Device    `json:"answers"`
}

func newPlanShowCommand(g *globals) *cobra.Command {
	var output *printer.Format
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a plan: who was asked, what each answered, and what became of it",
		Example: "  starter plan show abcd2345\n  starter plan show abcd2345 -o json",
		Args:    cobra.ExactArgs(1),
	}
	output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		store, err := g.openStore(ctx)
		if err != nil {
			return err
		}
		defer store.Close()
		p := plans.Plans{DB: store.DB()}
		shown := shownPlan{}
		if shown.Plan, err = g.plan(ctx, store, args[0]); err != nil {
			return err
		}
		if shown.Tally, err = p.Tally(ctx, args[0], runbook.DefaultAwayAfter); err != nil {
			return err
		}
		if shown.Answers, err = p.Devices(ctx, args[0], runbook.DefaultAwayAfter); err != nil {
			return err
		}
		return output.Print(g.io.Stdout, shown, shown.text)
	})
	return cmd
}

// plan reads a plan of the command's organisation.
func (g *globals) plan(ctx context.Context, store *inventory.Store, id string) (plans.Plan, error) {
	plan, err := plans.Plans{DB: store.DB()}.Get(ctx, id)
	if err != nil || g.org == "" {
		return plan, err
	}
	orgID, err := g.orgID(ctx, store)
	if err == nil && plan.OrgID != orgID {
		err = runbook.Refuse(runbook.CodeNotFound, "there is no plan %s in organisation %s", id, g.org)
	}
	return plan, err
}

func (s shownPlan) text(w io.Writer) error {
	rows := make([][]string, len(s.Answers))
	for i, d := range s.Answers {
		what := d.Became
		switch d.Answer {
		case "":
			what = "not asked"
		case plans.AnswerRefused, plans.AnswerUnknown:
			what = fmt.Sprintf("%s (%s): %s", d.Answer, d.Code, printer.OneLine(d.Message))
		}
		rows[i] = []string{strconv.Itoa(d.Wave + 1), d.Name, d.Reported, printer.OrNone(d.Next), what}
	}
	if err := printer.Table(w, []string{"WAVE", "DEVICE", "REPORTED", "RENDERED NEXT", "OUTCOME"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nplan %s of restore %s: %s\nplanned by %s", s.ID, s.RestoreID, s.stands(),
		printer.Actor(s.PlannedBy, s.PlannedIdentity))
	if s.DecidedBy != "" {
		fmt.Fprintf(w, "\nstarted by %s", printer.Actor(s.DecidedBy, s.DecidedIdentity))
	}
	fmt.Fprintln(w, because(s.Reason))
	if s.EndedBy != "" {
		fmt.Fprintf(w, "ended by %s%s\n", printer.OneLine(s.EndedBy), because(s.EndReason))
	}
	_, err := fmt.Fprintln(w, ask.PlanTallyLine(s.Tally))
	return err
}

// stands is where the plan stands.
func (s shownPlan) stands() string {
	switch {
	case s.Expired:
		return "expired, and was not started"
	case s.State == runbook.PlanPlanned:
		return "planned, to be started until " + printer.Stamp(s.ExpiresAt)
	}
	return printer.Lower(s.State)
}

// because is a reason behind who acted.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + printer.OneLine(reason)
}

func newPlanListCommand(g *globals) *cobra.Command {
	var output *printer.Format
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the newest plans of an organisation",
		Example: "  starter plan list",
		Args:    cobra.NoArgs,
	}
	output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		store, orgID, err := g.openOrg(ctx)
		if err != nil {
			return err
		}
		defer store.Close()
		found, err := plans.Plans{DB: store.DB()}.List(ctx, orgID, 100)
		if err != nil {
			return err
		}
		return output.Print(g.io.Stdout, found, func(w io.Writer) error {
			rows := make([][]string, len(found))
			for i, p := range found {
				state := string(p.State)
				if p.Expired {
					state = "Expired"
				}
				rows[i] = []string{
					p.ID, state, strconv.FormatInt(p.Devices, 10), p.RestoreID, p.PlannedBy,
					printer.Ago(g.io.Now(), &p.PlannedAt), printer.OneLine(p.Reason),
				}
			}
			return printer.Table(w, []string{"ID", "STATE", "DEVICES", "RESTORE", "PLANNED BY", "AGE", "REASON"}, rows)
		})
	})
	return cmd
}
