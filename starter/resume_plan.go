package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
	"rollcall/starter/review"
)

// planRun are the flags of resume that concern plans.
type planRun struct {
	id, goOn, abort, retryFailed string
	waves, perSite               string
	soak, awayAfter              time.Duration
	maxFailures                  int
	confirm                      int64
	detach                       bool
	// rollout reports whether a flag says how a plan is carried out.
	rollout bool
}

// rolloutFlags say how a plan is carried out.
var rolloutFlags = []string{"waves", "per-site", "soak", "away-after", "max-failures", "detach"}

func (r *planRun) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&r.id, "plan", "", "carry out the plan of this `id`, made by `starter plan resume`")
	flags.StringVar(&r.waves, "waves", "",
		"plans: `sizes` of waves, as numbers or shares of all, such as 5,10%,100% (default one wave)")
	flags.StringVar(&r.perSite, "per-site", "",
		"plans: at most so many devices with the same value of a label in a wave, as `LABEL=N`")
	flags.DurationVar(&r.soak, "soak", 0, "plans: how long a wave lasts at least before the next one starts")
	flags.DurationVar(&r.awayAfter, "away-after", runbook.DefaultAwayAfter,
		"plans: how long a resumed device may stay unseen before its wave goes on without it")
	flags.IntVar(&r.maxFailures, "max-failures", 0,
		"plans: how many devices may fail before the rest is held for a human")
	flags.Int64Var(&r.confirm, "confirm", 0,
		"`count` of the devices, where they are more than a quarter of the roll ($"+ask.EnvConfirmAbove+
			"); a terminal asks for it")
	flags.BoolVar(&r.detach, "detach", false, "plans: return once the plan has begun")
	flags.StringVar(&r.goOn, "continue", "", "go on with the held plan of this `id`")
	flags.StringVar(&r.abort, "abort", "", "end the plan of this `id`; whoever was not asked stays paused")
	flags.StringVar(&r.retryFailed, "retry-failed", "",
		"ask again who gave no answer in the held plan of this `id`, and wait again for who failed")
}

// given reports whether the command concerns a plan that there is.
func (r *planRun) given() bool { return r.id+r.goOn+r.abort+r.retryFailed != "" }

// command returns the update that the command sends to a plan, with the plan's id; none for --plan.
func (r *planRun) command() (update, id string, err error) {
	given := 0
	for _, c := range [][2]string{
		{"", r.id},
		{runbook.UpdateContinue, r.goOn},
		{runbook.UpdateAbort, r.abort},
		{runbook.UpdateRetryFailed, r.retryFailed},
	} {
		if c[1] != "" {
			given, update, id = given+1, c[0], c[1]
		}
	}
	if given != 1 {
		return "", "", usagef("use one of --plan, --continue, --abort and --retry-failed")
	}
	return update, id, nil
}

// completePlan reads the flags of a command that concerns a plan that there is. It refuses flags that would be
// ignored.
func (o *resumeOptions) completePlan(cmd *cobra.Command) error {
	update, _, err := o.plan.command()
	if err != nil {
		return err
	}
	unfit, why := []string{"selector", "field-selector", "all", "expect-version", "dry-run"},
		"the plan says which devices and versions"
	if update == "" {
		unfit = append(unfit, "request-id")
	}
	if name := changed(cmd, unfit); name != "" {
		return usagef("--%s does not go with a plan: %s; see `starter plan show ID`", name, why)
	}
	if name := changed(cmd, append([]string{"confirm"}, rolloutFlags...)); name != "" && update != "" {
		return usagef("--%s does not go with --%s: a plan is carried out as it was started", name, update)
	}
	if err := o.request.complete(cmd); err != nil {
		return err
	}
	return o.operator.complete(o.io, cmd)
}

// changed is the first of these flags that was given; empty where none was.
func changed(cmd *cobra.Command, names []string) string {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

// runPlan carries out the part of resume that concerns a plan that there is.
func (o *resumeOptions) runPlan(ctx context.Context) error {
	update, id, err := o.plan.command()
	if err != nil {
		return err
	}
	in, err := o.planInput(id)
	if err != nil {
		return err
	}
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	plan, err := o.globals.plan(ctx, store, id)
	if err != nil {
		return err
	}
	if update != "" {
		return o.tellPlan(ctx, ask.Plan{ID: id, OrgID: plan.OrgID}, update)
	}
	if plan.State == runbook.PlanPlanned {
		if err := o.confirmed("plan "+id, plan.Devices, plan.OnRoll); err != nil {
			return err
		}
	}
	return o.followPlan(ctx, ask.Plan{ID: id, OrgID: plan.OrgID}, in)
}

// planInput is what a plan's workflow is started with.
func (o *resumeOptions) planInput(id string) (runbook.PlanInput, error) {
	r := &o.plan
	in := runbook.PlanInput{
		PlanID: id, By: o.as, As: o.asSaid(), Reason: o.reason, Waves: r.waves, PerSite: r.perSite,
		Soak: r.soak.String(), AwayAfter: r.awayAfter.String(), MaxFailures: r.maxFailures,
	}
	if _, err := in.Check(); err != nil {
		return in, usagef("%w", err)
	}
	return in, nil
}

// planAndRun makes a plan of the devices that the command selects, and carries it out.
func (o *resumeOptions) planAndRun(ctx context.Context) error {
	p := o.newPlan(newPlanID())
	in, err := o.planInput(p.id)
	if err != nil {
		return err
	}
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	set, err := p.freeze(ctx, store, orgID)
	if err != nil {
		return err
	}
	if !o.output.Machine() {
		if err := set.Table(o.io.Stderr); err != nil {
			return err
		}
	}
	if err := o.confirmed("the plan", int64(len(set.Devices)), set.OnRoll); err != nil {
		return err
	}
	if err := p.store(ctx, store, set); err != nil {
		return err
	}
	return o.followPlan(ctx, ask.Plan{ID: p.id, OrgID: orgID}, in)
}

// resumeSelected has a plan carry out the decision about selected devices, and puts their answers into the report.
func (o *resumeOptions) resumeSelected(
	ctx context.Context, store *inventory.Store, orgID string, report *printer.ResumeReport,
	targets []inventory.DevicePosition, command []string,
) error {
	in, err := o.planInput(newPlanID())
	if err != nil {
		return err
	}
	// Each device gives its own answer, and none holds up the others.
	in.MaxFailures, in.AskTimeout = math.MaxInt32, o.timeout.String()
	c, err := o.dialWorkers(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	meter := printer.NewMeter(o.io, len(targets))
	defer meter.Close()
	s := ask.Selection{
		Plan: ask.Plan{
			OrgID: orgID, Client: c, Queue: o.queue(), GiveUp: o.timeout,
			Say: func(line string) { fmt.Fprintln(o.io.Stderr, line) },
		},
		Store: store, RequestID: o.requestID, Command: command, Input: in,
		Make: func(ctx context.Context, id string, devices []inventory.DevicePosition) error {
			if err := o.confirmSelected(ctx, store, devices); err != nil {
				return err
			}
			p := o.newPlan(id)
			return p.store(ctx, store, review.Freeze(id, orgID, o.reason, o.io.Now().Add(p.expires).UTC(), devices))
		},
		Answer: report.Add,
	}
	if o.io.IsTerminal(o.io.Stderr) {
		s.Stands = func(now runbook.PlanProgress) { meter.Set(int(now.Total - now.NotAsked)) }
	}
	planID, goesOn, err := s.Resume(ctx, targets)
	report.PlanID = planID
	meter.Set(len(report.Resumed) + len(report.Refused))
	if goesOn {
		fmt.Fprintf(o.io.Stderr, "plan %s goes on; end it with `%s`\n", planID,
			printer.Command(orgID, "resume", "--abort", planID))
	}
	return err
}

// newPlan is the plan of this id that holds what the command selects.
func (o *resumeOptions) newPlan(id string) *planResumeOptions {
	return &planResumeOptions{
		globals: o.globals, operator: o.operator, selectors: o.selectors, names: o.names, all: o.all, id: id,
		expires: time.Hour,
	}
}

// confirmed has the count of a large plan or selection confirmed.
func (o *resumeOptions) confirmed(what string, devices, onRoll int64) error {
	c := ask.Confirmation{IO: o.io, Count: o.plan.confirm}
	if err := c.Check(what, devices, onRoll); err != nil {
		return usagef("%w", err)
	}
	return nil
}

// followPlan starts a plan's workflow and shows where it stands until it has ended or is held. It may be left at any
// time: the workflow goes on.
func (o *resumeOptions) followPlan(ctx context.Context, p ask.Plan, in runbook.PlanInput) error {
	c, err := o.dialWorkers(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	p.Client, p.Queue = c, o.queue()
	p.Say = func(line string) { fmt.Fprintln(o.io.Stderr, line) }
	runID, err := p.Start(ctx, in)
	if err != nil {
		return err
	}
	if o.plan.detach {
		begun := struct {
			PlanID string `json:"planId"`
		}{p.ID}
		return o.output.Print(o.io.Stdout, begun, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "plan %s has begun; watch it with `%s`\n", p.ID, p.Show())
			return err
		})
	}
	stands, err := p.Watch(ctx, runID)
	if err != nil {
		return err
	}
	return o.finishPlan(p, stands)
}

// finishPlan prints where a plan stands, and ends the command with its exit code.
func (o *resumeOptions) finishPlan(p ask.Plan, stands runbook.PlanProgress) error {
	if err := o.printPlan(p, stands); err != nil {
		return err
	}
	if stands.State == runbook.PlanCompleted && stands.Resumed() == stands.Total && stands.Failed == 0 {
		return nil
	}
	return &exitError{code: printer.ExitRefusals}
}

func (o *resumeOptions) printPlan(p ask.Plan, stands runbook.PlanProgress) error {
	return o.output.Print(o.io.Stdout, stands, func(w io.Writer) error {
		fmt.Fprintf(w, "plan %s: %s. %s\n%s\n", p.ID, printer.Lower(stands.State), printer.OneLine(stands.Why),
			ask.PlanTallyLine(stands.PlanTally))
		if stands.State == runbook.PlanHeld {
			fmt.Fprintln(w, "decide:")
			for _, flag := range []string{"--continue", "--retry-failed", "--abort"} {
				fmt.Fprintf(w, "  %s\n", printer.Command(p.OrgID, "resume", flag, p.ID))
			}
		}
		_, err := fmt.Fprintf(w, "which device: %s\n", p.Show())
		return err
	})
}

// tellPlan sends a plan a human's word, and prints where it stands after it.
func (o *resumeOptions) tellPlan(ctx context.Context, p ask.Plan, update string) error {
	c, err := o.dialWorkers(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	p.Client = c
	decided, err := o.operator.decide(ctx, o.globals, c, runbook.DecisionInput{
		Act: runbook.Act(update), OrgID: p.OrgID, Targets: []runbook.DecisionTarget{{Name: p.ID}},
	})
	if err != nil {
		return err
	}
	again := []string{"resume", "--" + update, p.ID, "--request-id", o.requestID, "--as", decided.By}
	if decided.Reason != "" {
		again = append(again, "--reason", decided.Reason)
	}
	stands, err := p.Tell(ctx, update, o.requestID, printer.Command(p.OrgID, again...), o.timeout,
		runbook.PlanCommand{By: decided.By, Reason: decided.Reason, Origin: decided.Origin(p.ID)})
	if err != nil {
		return err
	}
	return o.printPlan(p, stands)
}
