package workflows

import (
	"cmp"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// decide answers the resume update. Its id names the request, so that asking again is the same decision.
func (d *device) decide(ctx workflow.Context, request runbook.ResumeRequest) (runbook.ResumeDecision, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return d.considerResume(ctx, request, updateRequest(ctx))
}

// considerResume is T4, or its refusal. A resume that arrives while the device awaits its reconnect is refused at once,
// before it waits for its turn: what may be a conflict by then is none that the human has seen.
func (d *device) considerResume(
	ctx workflow.Context, request runbook.ResumeRequest, requestID string,
) (runbook.ResumeDecision, error) {
	arrivedEarly := d.status.State == runbook.StateAwaitingReconnect && !d.ended()
	if err := d.mutex.Lock(ctx); err != nil {
		return runbook.ResumeDecision{}, err
	}
	defer d.mutex.Unlock()
	conflict := d.conflict()
	if arrivedEarly {
		conflict = runbook.Conflict{State: runbook.StateAwaitingReconnect}
	}
	if _, err := runbook.MayResume(conflict, request.ExpectVersion); err != nil {
		refusal := runbook.AsRefusal(err)
		return d.refusedDecision(refusal), d.refuse(ctx, resumeSent(request), refusal, requestID)
	}
	var result activities.TransitionResult
	err := runTransition(ctx, "resume by "+request.By, acts.Resume, activities.ResumeInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		By: request.By, Reason: request.Reason, ExpectVersion: request.ExpectVersion, RequestID: requestID,
		Plan: request.Plan, Origin: request.Origin,
	}, &result)
	if err := d.follow(ctx, resumeEntry(request), result, err); err != nil {
		return runbook.ResumeDecision{}, err
	}
	if refusal := cmp.Or(result.Refusal, runbook.AsRefusal(err)); refusal != nil {
		decision := d.refusedDecision(refusal)
		if decision.By == "" {
			decision.By, decision.Reason = result.By, result.Reason
		}
		return decision, nil
	}
	if result.Transition == runbook.Decided {
		return decisionOf(d.status.Name, result), nil
	}
	return d.resume, nil
}

// conflict is what a resume decides about, as the workflow knows it; the activity looks at the database once more.
func (d *device) conflict() runbook.Conflict {
	return runbook.Conflict{
		State: d.status.State, Restored: d.status.Restored, Reported: d.status.Reported, ResumedBy: d.resume.By,
	}
}

// decisionOf is a decision that was accepted, as an answer.
func decisionOf(name string, result activities.TransitionResult) runbook.ResumeDecision {
	at := result.At
	return runbook.ResumeDecision{
		Accepted: true, Name: name, State: result.State, Restored: result.Restored, Reported: result.Reported,
		Next: result.Next, By: result.By, Reason: result.Reason, At: &at,
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
		Via: viaOf(request.Origin),
	}
}

func resumeSent(request runbook.ResumeRequest) sent {
	return sent{resumeEntry(request), request.Origin}
}
