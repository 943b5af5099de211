package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"rollcall/inventory"
	"rollcall/inventory/plans"
	"rollcall/runbook"
)

// Updater is what a plan needs of a Temporal client to ask devices.
type Updater interface {
	UpdateWorkflow(ctx context.Context, options client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error)
}

const (
	// asksAtOnce is how many devices of a plan are asked at the same time.
	asksAtOnce = 32
	// startsWithin is how long a device whose workflow has not been started yet is asked again.
	startsWithin = 5 * time.Second
)

// BeginPlanResult is a plan that runs.
type BeginPlanResult struct {
	OrgID     string `json:"orgId"`
	RestoreID string `json:"restoreId"`
	By        string `json:"by"`
	Reason    string `json:"reason,omitempty"`
	Waves     int    `json:"waves"`
	Devices   int64  `json:"devices"`
}

// BeginPlan starts a plan, or returns one that was started as it is. What may not run is a refusal.
func (a *Activities) BeginPlan(ctx context.Context, in runbook.PlanInput) (BeginPlanResult, error) {
	by, identity, err := a.decider(ctx, in.As, in.By)
	if onlyFailure(err) != nil {
		return BeginPlanResult{}, err
	}
	var plan plans.Plan
	if err == nil {
		in.By = by
		plan, err = a.plans().Begin(ctx, in, identity, a.Policy)
	}
	if auditErr := a.recordBegin(ctx, in, by, identity, err); auditErr != nil {
		return BeginPlanResult{}, asActivityError(auditErr)
	}
	return BeginPlanResult{
		OrgID: plan.OrgID, RestoreID: plan.RestoreID, By: plan.DecidedBy, Reason: plan.Reason, Waves: plan.Waves,
		Devices: plan.Devices,
	}, asActivityError(err)
}

// recordBegin writes to the audit that someone has started a plan, or was refused.
func (a *Activities) recordBegin(
	ctx context.Context, in runbook.PlanInput, by string, identity runbook.Identity, err error,
) error {
	if onlyFailure(err) != nil {
		return nil // it is tried again
	}
	plan, readErr := a.plans().Get(ctx, in.PlanID)
	if readErr != nil {
		return onlyFailure(readErr) // there is no plan, and so no restore that it belongs to
	}
	return a.Inventory.RecordAct(ctx, inventory.ActInput{
		Act: runbook.ActResumePlan, OrgID: plan.OrgID, RestoreID: plan.RestoreID, PlanID: in.PlanID, By: by,
		Reason:    in.Reason,
		RequestID: "start/" + runOf(ctx), Who: inventory.Who{Identity: identity},
		Refusal: runbook.AsRefusal(err),
	})
}

// AskWaveInput names a wave of a plan, and the decision that its devices are asked to take.
type AskWaveInput struct {
	PlanID string `json:"planId"`
	OrgID  string `json:"orgId"`
	Wave   int    `json:"wave"`
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// Timeout is how long one device may take to answer before its answer counts as unknown. A workflow of an earlier
	// release does not say it, and means runbook.DefaultAskTimeout.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// AskWaveResult says when the devices of a wave have answered.
type AskWaveResult struct {
	// Since is how long ago the last of them has; 0 where none has. An activity of an earlier release does not say it.
	Since time.Duration `json:"since,omitempty"`
}

// AskWave puts the decision to the workflow of each device of a wave that has not answered, and stores the answers. It
// may be repeated: a device that was asked before gives its first answer. Where the plan's restore was superseded or
// cancelled it is a refusal, and whoever was not asked stays paused.
func (a *Activities) AskWave(ctx context.Context, in AskWaveInput) (AskWaveResult, error) {
	defer heartbeats(ctx)()
	in.Timeout = cmp.Or(in.Timeout, runbook.DefaultAskTimeout)
	devices, err := a.plans().ToAsk(ctx, in.PlanID, in.Wave)
	if err == nil {
		err = a.plans().BeginWave(ctx, in.PlanID, in.Wave)
	}
	if err != nil {
		return AskWaveResult{}, asActivityError(err)
	}
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(asksAtOnce)
	for _, device := range devices {
		if asking.Err() != nil {
			break
		}
		group.Go(func() error { return a.askDevice(asking, in, device) })
	}
	if err := group.Wait(); err != nil {
		return AskWaveResult{}, asActivityError(err)
	}
	if ctx.Err() != nil {
		return AskWaveResult{}, ctx.Err()
	}
	since, err := a.plans().SinceAnswer(ctx, in.PlanID, in.Wave)
	return AskWaveResult{Since: since}, asActivityError(err)
}

// askDevice asks one device and stores its answer. One that refuses because its plan waits was not asked.
func (a *Activities) askDevice(ctx context.Context, in AskWaveInput, d plans.Device) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	decision, err := a.ask(ctx, in, d)
	if ctx.Err() != nil {
		return ctx.Err() // the plan was ended; the device may have been asked, and the next attempt learns of it
	}
	if err != nil || !decision.Accepted {
		// The device may have been resumed for the plan all the same, by an earlier attempt that no one has heard of.
		resumed, err := a.plans().AnswerFromAudit(ctx, in.PlanID, d.Name)
		if err != nil || resumed {
			return err
		}
	}
	switch {
	case err == nil && decision.Code == runbook.CodePlanWaits:
		return nil
	case err != nil:
		d.Answer, d.Code, d.Message = answerOf(err)
	case decision.Accepted:
		d.Answer, d.Next = plans.AnswerResumed, decision.Next
	default:
		d.Answer, d.Code, d.Message = plans.AnswerRefused, decision.Code, decision.Message
	}
	d.Message = runbook.Storable(d.Message)
	return a.plans().Answer(ctx, in.PlanID, d)
}

// ask asks one device: again while its workflow is being started, and under another id where it refuses because its
// plan waits. That was answered to a message in the plan's name which has come before the wave, and a device gives its
// first answer to the same id again.
func (a *Activities) ask(
	ctx context.Context, in AskWaveInput, d plans.Device,
) (decision runbook.ResumeDecision, err error) {
	for try := 1; try <= runbook.PlanTries; try++ {
		decision, err = a.update(ctx, in, d, try)
		for until := time.Now().Add(startsWithin); isNotFound(err) && time.Now().Before(until) &&
			a.Inventory.StartsSoon(ctx, in.OrgID, d.Name); {
			decision, err = a.update(ctx, in, d, try)
		}
		if err != nil || decision.Code != runbook.CodePlanWaits {
			break
		}
		if err = a.plans().BeginWave(ctx, in.PlanID, in.Wave); err != nil {
			break
		}
	}
	return decision, err
}

func (a *Activities) update(
	ctx context.Context, in AskWaveInput, d plans.Device, try int,
) (decision runbook.ResumeDecision, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.Timeout)
	defer cancel()
	handle, err := a.Updater.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(in.OrgID, d.Name), UpdateName: runbook.UpdateResume,
		// One id for each try: asked again, the workflow answers as it did the first time.
		UpdateID:     runbook.PlanUpdateID(in.PlanID, try),
		WaitForStage: client.WorkflowUpdateStageCompleted,
		Args:         []any{runbook.ResumeRequest{By: in.By, Reason: in.Reason, ExpectVersion: d.Reported, Plan: in.PlanID}},
	})
	if err == nil {
		err = handle.Get(ctx, &decision)
	}
	return decision, err
}

// answerOf reads an update's error as a device's answer. Only what the workflow or Temporal has said is a no; after
// any other error the device may have been resumed.
func answerOf(err error) (answer string, code runbook.Code, message string) {
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &app) && app.Type() != "":
		return plans.AnswerRefused, runbook.Code(app.Type()), app.Message()
	case isNotFound(err):
		return plans.AnswerRefused, runbook.CodeNotWaiting, "no workflow waits for the device"
	}
	return plans.AnswerUnknown, runbook.CodeOutcomeUnknown, fmt.Sprintf("no answer: %v", err)
}

// PlanTallyInput names a plan.
type PlanTallyInput struct {
	PlanID    string        `json:"planId"`
	AwayAfter time.Duration `json:"awayAfter"`
}

// PlanTallyResult is what has become of a plan's devices.
type PlanTallyResult struct {
	runbook.PlanTally
	// Current reports whether the plan's restore still runs.
	Current bool `json:"current"`
	// RestoreCompleted reports whether the plan's restore has ended because every device of its roll has. An activity of
	// an earlier release does not say so.
	RestoreCompleted bool `json:"restoreCompleted,omitempty"`
}

// PlanTally counts the devices of a plan, and reports whether its restore still runs, or has completed.
func (a *Activities) PlanTally(ctx context.Context, in PlanTallyInput) (PlanTallyResult, error) {
	plan, err := a.plans().Get(ctx, in.PlanID)
	if err != nil {
		return PlanTallyResult{}, asActivityError(err)
	}
	tally, err := a.plans().Tally(ctx, in.PlanID, in.AwayAfter)
	result := PlanTallyResult{PlanTally: tally, Current: plan.Current, RestoreCompleted: plan.RestoreCompleted}
	return result, asActivityError(err)
}

// MovePlanInput says where a plan stands, and who has put it there.
type MovePlanInput struct {
	PlanID string            `json:"planId"`
	State  runbook.PlanState `json:"state"`
	By     string            `json:"by,omitempty"`
	Reason string            `json:"reason,omitempty"`
	// AwayAfter is for the tally of a plan that ends.
	AwayAfter time.Duration `json:"awayAfter,omitempty"`
}

// MovePlanResult is what has become of the devices of a plan that has ended.
type MovePlanResult struct {
	// Tally is nil where the plan goes on. An activity of an earlier release returns none.
	Tally *runbook.PlanTally `json:"tally,omitempty"`
}

// MovePlan writes where a plan stands; one that has ended stays so. It returns the tally of a plan that ends. Only what
// the resumed devices report changes it after that.
func (a *Activities) MovePlan(ctx context.Context, in MovePlanInput) (MovePlanResult, error) {
	if err := a.plans().Move(ctx, in.PlanID, in.State, in.By, in.Reason); err != nil || !in.State.Ended() {
		return MovePlanResult{}, asActivityError(err)
	}
	tally, err := a.plans().Tally(ctx, in.PlanID, in.AwayAfter)
	return MovePlanResult{Tally: &tally}, asActivityError(err)
}

func (a *Activities) plans() plans.Plans { return plans.Plans{DB: a.Inventory.DB()} }

// forbids reports, as a refusal, what a resume lacks: a decision, a reason, a plan, or its place in the plan that it
// names. It also returns how it is known who decides; of a resume that comes from a plan, who has started the plan. A
// message that names a plan comes from it only where its id is that of the plan's own update.
func (a *Activities) forbids(ctx context.Context, in ResumeInput) (inventory.Who, *runbook.Refusal, error) {
	who, forbidden, err := a.identify(ctx, in.Origin, in.RequestID, in.OrgID, runbook.Claim{
		Act: runbook.ActResume, Target: runbook.DecisionTarget{Name: in.Name, Version: in.ExpectVersion}, By: in.By,
		Reason: in.Reason,
	})
	if err != nil || forbidden != nil {
		return who, forbidden, err
	}
	err = a.Policy.Check(in.Plan, in.Reason)
	if err != nil || in.Plan == "" {
		return who, runbook.AsRefusal(err), onlyFailure(err)
	}
	if !runbook.IsPlanRequest(in.Plan, in.RequestID) {
		return who, runbook.Refuse(runbook.CodeNotInPlan,
			"only plan %s itself resumes for it; resume the device without a plan; nothing was changed", in.Plan), nil
	}
	identity, err := a.plans().Holds(ctx, in.Plan, in.OrgID,
		plans.Planned{Name: in.Name, Reported: in.ExpectVersion}, in.By)
	if err == nil {
		who.Identity, who.DecisionID = identity, inventory.PlanDecision(in.Plan)
	}
	return who, runbook.AsRefusal(err), onlyFailure(err)
}
