package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory/plans"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// planRun are the flags of resume that concern plans.
type planRun struct {
	id, goOn, abort, retryFailed string
	waves, perSite               string
	soak, awayAfter              time.Duration
	maxFailures                  int
	confirm                      int64
	detach                       bool
}

func (r *planRun) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&r.id, "plan", "", "carry out the plan of this `id`, made by `starter plan resume`")
	flags.StringVar(&r.waves, "waves", "",
		"with --plan: `sizes` of waves, as numbers or shares of all, such as 5,10%,100% (default one wave)")
	flags.StringVar(&r.perSite, "per-site", "",
		"with --plan: at most so many devices with the same value of a label in a wave, as `LABEL=N`")
	flags.DurationVar(&r.soak, "soak", 0, "with --plan: how long a wave lasts at least before the next one starts")
	flags.DurationVar(&r.awayAfter, "away-after", runbook.DefaultAwayAfter,
		"with --plan: how long a resumed device may stay unseen before its wave goes on without it")
	flags.IntVar(&r.maxFailures, "max-failures", 0,
		"with --plan: how many devices may fail before the rest is held for a human")
	flags.Int64Var(&r.confirm, "confirm", 0,
		"with --plan: the `count` of its devices, needed where it holds more than a quarter of the roll")
	flags.BoolVar(&r.detach, "detach", false, "with --plan: return once the plan has begun")
	flags.StringVar(&r.goOn, "continue", "", "go on with the held plan of this `id`")
	flags.StringVar(&r.abort, "abort", "", "end the plan of this `id`; whoever was not asked stays paused")
	flags.StringVar(&r.retryFailed, "retry-failed", "",
		"ask again who gave no answer in the held plan of this `id`, and wait again for who failed")
}

// given reports whether the command concerns a plan.
func (r *planRun) given() bool { return r.id+r.goOn+r.abort+r.retryFailed != "" }

// runPlan carries out the part of resume that concerns plans.
func (o *resumeOptions) runPlan(ctx context.Context) error {
	r := &o.plan
	said := map[string]string{
		runbook.UpdateContinue: r.goOn, runbook.UpdateAbort: r.abort,
		runbook.UpdateRetryFailed: r.retryFailed,
	}
	given, id, update := 0, r.id, ""
	for name, of := range said {
		if of != "" {
			given, id, update = given+1, of, name
		}
	}
	if given > 1 || given == 1 && r.id != "" {
		return usagef("use one of --plan, --continue, --abort and --retry-failed")
	}
	in := runbook.PlanInput{
		PlanID: id, By: o.as, As: o.asSaid(), Reason: o.reason, Waves: r.waves, PerSite: r.perSite,
		Soak: r.soak.String(), AwayAfter: r.awayAfter.String(), MaxFailures: r.maxFailures,
	}
	if _, err := in.Check(); err != nil {
		return usagef("%w", err)
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
	if update == "" {
		if err := o.confirmed(plan); err != nil {
			return err
		}
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if update != "" {
		return o.tellPlan(ctx, c, plan, update)
	}
	return o.followPlan(ctx, c, in)
}

// confirmAbove is the share of a restore's roll above which a plan is carried out only where its count was confirmed.
const confirmAbove = 0.25

// confirmed checks that whoever starts a large plan knows how large it is.
func (o *resumeOptions) confirmed(plan plans.Plan) error {
	switch {
	case o.plan.confirm != 0 && o.plan.confirm != plan.Devices:
		return usagef("--confirm %d: plan %s holds %d devices", o.plan.confirm, plan.ID, plan.Devices)
	case o.plan.confirm == 0 && float64(plan.Devices) > confirmAbove*float64(plan.OnRoll) &&
		plan.State == runbook.PlanPlanned:
		return usagef("plan %s holds %d of the %d devices of the roll: say that you know with --confirm %d", plan.ID,
			plan.Devices, plan.OnRoll, plan.Devices)
	}
	return nil
}

// followPlan starts a plan's workflow and shows where it stands until it has ended or is held. It may be left at any
// time: the workflow goes on.
func (o *resumeOptions) followPlan(ctx context.Context, c client.Client, in runbook.PlanInput) error {
	started, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: runbook.ResumeWorkflowID(in.PlanID), TaskQueue: o.queue(),
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            fmt.Sprintf("Plan %s, decided by %s", in.PlanID, in.By),
	}, runbook.ResumeWorkflowName, in)
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	runID := ""
	switch {
	case errors.As(err, &running):
		fmt.Fprintf(o.io.Stderr, "plan %s runs already; watching it\n", in.PlanID)
	case err != nil:
		return fmt.Errorf("start plan %s: %w", in.PlanID, err)
	default:
		runID = started.GetRunID()
	}
	if o.plan.detach {
		fmt.Fprintf(o.io.Stdout, "plan %s has begun; watch it with `starter plan show %s`\n", in.PlanID, in.PlanID)
		return nil
	}
	return o.watchPlan(ctx, c, in.PlanID, runID)
}

func (o *resumeOptions) watchPlan(ctx context.Context, c client.Client, id, runID string) error {
	ended := make(chan error, 1)
	var result runbook.PlanProgress
	go func() { ended <- c.GetWorkflow(ctx, runbook.ResumeWorkflowID(id), runID).Get(ctx, &result) }()
	last := ""
	for {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("plan %s: %w", id, plainly(err))
			}
			return o.finishPlan(result)
		case <-time.After(planInterval):
		}
		var now runbook.PlanProgress
		asking, cancel := context.WithTimeout(ctx, ask.QueryTimeout)
		err := ask.Query(asking, c, runbook.ResumeWorkflowID(id), runbook.QueryPlan, &now)
		cancel()
		line := fmt.Sprintf("plan %s, wave %d of %d: %s", id, now.Wave, now.Waves, tallyOfPlan(now.PlanTally))
		if err != nil {
			line = fmt.Sprintf("plan %s does not answer; is a worker running?", id)
		}
		if line != last {
			fmt.Fprintln(o.io.Stderr, line)
			last = line
		}
		if err == nil && now.State == runbook.PlanHeld {
			return o.finishPlan(now)
		}
	}
}

// planInterval is how often a plan that is watched is asked where it stands.
const planInterval = time.Second

// finishPlan prints where a plan stands, and ends the command with its exit code.
func (o *resumeOptions) finishPlan(p runbook.PlanProgress) error {
	err := o.output.Print(o.io.Stdout, p, func(w io.Writer) error {
		fmt.Fprintf(w, "plan %s: %s. %s\n%s\n", p.PlanID, printer.Lower(p.State), p.Why, tallyOfPlan(p.PlanTally))
		if p.State == runbook.PlanHeld {
			fmt.Fprintf(w, "decide: starter resume --continue %s | --retry-failed %s | --abort %s\n", p.PlanID, p.PlanID,
				p.PlanID)
		}
		_, err := fmt.Fprintf(w, "which device: starter plan show %s\n", p.PlanID)
		return err
	})
	switch {
	case err != nil:
		return err
	case p.State == runbook.PlanCompleted && p.Resumed() == p.Total && p.Failed == 0:
		return nil
	}
	return &exitError{code: printer.ExitRefusals}
}

// tellPlan sends a plan a human's word, and prints where it stands after it.
func (o *resumeOptions) tellPlan(ctx context.Context, c client.Client, plan plans.Plan, update string) error {
	id := plan.ID
	decided, err := o.operator.decide(ctx, o.globals, c, runbook.DecisionInput{
		Act: runbook.Act(update), OrgID: plan.OrgID, Targets: []runbook.DecisionTarget{{Name: id}},
	})
	if err != nil {
		return err
	}
	command := runbook.PlanCommand{By: decided.By, Reason: decided.Reason, Origin: decided.Origin(id)}
	asking, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	handle, err := c.UpdateWorkflow(asking, client.UpdateWorkflowOptions{
		WorkflowID: runbook.ResumeWorkflowID(id), UpdateName: update, UpdateID: uuid.NewString(),
		WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{command},
	})
	var progress runbook.PlanProgress
	if err == nil {
		err = handle.Get(asking, &progress)
	}
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return fmt.Errorf("no workflow runs plan %s: it has not begun, or has ended; see `starter plan show %s`", id, id)
	case err != nil:
		return fmt.Errorf("tell plan %s to %s: %w", id, update, plainly(err))
	}
	fmt.Fprintf(o.io.Stdout, "plan %s: %s. %s\n", id, printer.Lower(progress.State), progress.Why)
	return nil
}

// plainly is a workflow's own words, without the names that Temporal puts around them.
func plainly(err error) error {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return errors.New(app.Message())
	}
	return err
}
