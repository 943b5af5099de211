package workflows

import (
	"cmp"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// checkResume is the update's validator. It turns away what cannot be read at all, which leaves nothing in the history;
// what may not count is accepted as a message and answered with a refusal that the timeline and the audit keep.
func checkResume(request runbook.ResumeRequest) error {
	if refusal := runbook.AsRefusal(request.Check()); refusal != nil {
		return temporal.NewNonRetryableApplicationError(refusal.Message, string(refusal.Code), nil)
	}
	return nil
}

// decide answers the resume update. Its id names the request, so that asking again is the same decision.
func (d *device) decide(ctx workflow.Context, request runbook.ResumeRequest) (runbook.ResumeDecision, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return d.considerResume(ctx, request, workflow.GetCurrentUpdateInfo(ctx).ID)
}

// considerResume is T4, or its refusal. A resume that arrives while the device awaits its reconnect is refused at once,
// before it waits for its turn: what may be a conflict by then is none that the human has seen.
func (d *device) considerResume(ctx workflow.Context, request runbook.ResumeRequest, requestID string) (runbook.ResumeDecision, error) {
	arrivedEarly := d.status.State == runbook.StateAwaitingReconnect && !d.ended()
	if err := d.turn.Lock(ctx); err != nil {
		return runbook.ResumeDecision{}, err
	}
	defer d.turn.Unlock()
	conflict := d.conflict()
	if arrivedEarly {
		conflict = runbook.Conflict{State: runbook.StateAwaitingReconnect}
	}
	if _, err := runbook.MayResume(conflict, request.ExpectVersion); err != nil {
		refusal := runbook.AsRefusal(err)
		return d.refusedDecision(refusal), d.refuseAs(ctx, resumeEntry(request), refusal, requestID)
	}
	var result activities.TransitionResult
	err := carryOut(ctx, "resume by "+request.By, acts.Resume, activities.ResumeInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		By: request.By, Reason: request.Reason, ExpectVersion: request.ExpectVersion, RequestID: requestID,
	}, &result)
	if err := d.follow(ctx, resumeEntry(request), result, err); err != nil {
		return runbook.ResumeDecision{}, err
	}
	if refusal := cmp.Or(result.Refusal, runbook.AsRefusal(err)); refusal != nil {
		return d.refusedDecision(refusal), nil
	}
	return d.resume, nil
}

// conflict is what a resume decides about, as the workflow knows it; the activity looks at the database once more.
func (d *device) conflict() runbook.Conflict {
	return runbook.Conflict{
		State: d.status.State, Restored: d.status.Restored, Reported: d.status.Reported, ResumedBy: d.resume.By,
	}
}

// refusedDecision is a refusal as an answer, with the decision that stands where there is one.
func (d *device) refusedDecision(refusal *runbook.Refusal) runbook.ResumeDecision {
	decision := d.resume
	decision.Accepted = false
	decision.Name, decision.State = d.status.Name, d.status.State
	decision.Restored, decision.Reported, decision.Next = d.status.Restored, d.status.Reported, ""
	decision.Code, decision.Message = refusal.Code, refusal.Message
	return decision
}

func resumeEntry(request runbook.ResumeRequest) runbook.TimelineEntry {
	return runbook.TimelineEntry{
		Message: runbook.SignalResume, By: request.By, Reason: request.Reason, Version: request.ExpectVersion,
	}
}
