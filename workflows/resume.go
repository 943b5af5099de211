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
	_, err := runbook.MayResume(conflict, request.ExpectVersion)
	refusal := runbook.AsRefusal(err)
	late := refusal != nil && !arrivedEarly && d.ended() && databaseRefuses(ctx)
	if refusal != nil && !late {
		return d.refusedDecision(refusal), d.refuse(ctx, resumeSent(request), refusal, requestID)
	}
	var result activities.TransitionResult
	err = runTransition(ctx, "resume by "+request.By, acts.Resume, activities.ResumeInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		By: request.By, Reason: request.Reason, ExpectVersion: request.ExpectVersion, RequestID: requestID,
		Plan: request.Plan, Origin: request.Origin,
	}, &result)
	if late {
		return d.answerLate(ctx, resumeEntry(request), result, err)
	}
	if err := d.follow(ctx, resumeEntry(request), result, err); err != nil {
		return runbook.ResumeDecision{}, err
	}
	if refusal := cmp.Or(result.Refusal, runbook.AsRefusal(err)); refusal != nil {
		return d.refusedResume(result, refusal), nil
	}
	if result.Transition == runbook.Decided || result.Now != nil { // Now is set where it was answered before
		return decisionOf(d.status.Name, result), nil
	}
	return d.resume, nil
}

// answerLate answers a resume of a device that has left the roll call. It may be the decision that the device has left
// by: its worker was killed before Temporal had the workflow task, and another message has shown first that the device
// is resumed.
func (d *device) answerLate(
	ctx workflow.Context, entry runbook.TimelineEntry, result activities.TransitionResult, failed error,
) (runbook.ResumeDecision, error) {
	refusal := cmp.Or(result.Refusal, runbook.AsRefusal(failed))
	if failed != nil && refusal == nil {
		return runbook.ResumeDecision{}, failed
	}
	entry.Identity = result.Identity
	if refusal != nil {
		return d.refusedResume(result, refusal), d.note(ctx, entry, refusal)
	}
	entry.Transition, entry.From, entry.To = result.Transition, runbook.StateConflictPaused, result.State
	return decisionOf(d.status.Name, result), d.note(ctx, entry, nil)
}

// refusedResume is the database's refusal as an answer.
func (d *device) refusedResume(result activities.TransitionResult, refusal *runbook.Refusal) runbook.ResumeDecision {
	decision := d.refusedDecision(refusal)
	if decision.By == "" {
		decision.By, decision.Reason = result.By, result.Reason
	}
	return decision
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
