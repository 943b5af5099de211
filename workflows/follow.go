package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// follow brings the workflow to where the database says that the device stands now, whoever moved it, and puts the
// message on the timeline.
func (d *device) follow(
	ctx workflow.Context, entry runbook.TimelineEntry, result activities.TransitionResult, err error,
) error {
	if err != nil {
		refusal := runbook.AsRefusal(err)
		if refusal == nil {
			return err
		}
		result = activities.TransitionResult{
			State: d.status.State, Restored: d.status.Restored, Reported: d.status.Reported,
			Refusal: refusal,
		}
	}
	if lost, err := d.losePlace(ctx, entry, result.Refusal); lost || err != nil {
		return err
	}
	now, again := d.standsNow(ctx, result)
	if now.State == runbook.StateConflictPaused && d.status.State == runbook.StateAwaitingReconnect {
		if err := d.refuseEarlyResumes(ctx); err != nil {
			return err
		}
	}
	// A report that is answered again shows a loss only if it is not the one that has paused the device.
	reconnected := result.Transition == runbook.T2 || result.Transition == runbook.T3
	waited := reconnected && (!again || !result.At.Equal(d.status.Since))
	if err := d.recordLostState(ctx, now, waited); err != nil {
		return err
	}
	entry.Transition = result.Transition
	entry.From, entry.To = d.status.State, result.State
	entry.Identity = result.Identity
	if waited && now.State == d.status.State {
		d.status.Since = now.At // it is paused once more
	}
	d.enter(ctx, now)
	if err := d.note(ctx, entry, result.Refusal); err != nil {
		return err
	}
	if now.State != result.State {
		moved := runbook.TimelineEntry{
			Message: runbook.SignalLook, Version: now.Reported, By: now.By, Reason: now.Reason, From: result.State,
			To: now.State,
		}
		return d.note(ctx, moved, nil)
	}
	if result.Refusal != nil && result.Refusal.Code == runbook.CodeSuperseded {
		return d.learnOfSupersession(ctx)
	}
	return nil
}

// changeStandsNow marks the device workflows that tell what a message was answered with before from where the device
// stands by now.
const changeStandsNow = "stands-now"

// standsNow is where the device stands. A message that was answered before is answered as it was then, and again is
// set: its worker died before the workflow task was completed, the first answer was lost, or its sender repeats it.
// Another message may have moved the device since.
func (d *device) standsNow(
	ctx workflow.Context, result activities.TransitionResult,
) (now activities.TransitionResult, again bool) {
	if result.Now == nil ||
		workflow.GetVersion(ctx, changeStandsNow, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return result, false
	}
	s := *result.Now
	same := s.State == result.State && s.Reported == result.Reported
	if same && (s.State.Open() || s.At.Equal(result.At)) {
		return result, true
	}
	return activities.TransitionResult{
		State: s.State, Restored: s.Restored, Reported: s.Reported, Next: s.Next, At: s.At, By: s.By, Reason: s.Reason,
	}, true
}

// changeNameLost marks the device workflows that record in the audit what the database has lost.
const changeNameLost = "name-lost"

// changeNameWithdrawn marks those that do so also where the device is withdrawn before anything else shows the loss.
const changeNameWithdrawn = "name-withdrawn"

// recordLostState writes to the audit that the device was paused where the database does not know that, because the
// database was put back to an earlier moment. The database's state stands: the device waits for its report again, or
// the report that it has just sent pauses it, or it is withdrawn. waited reports whether the message has found the
// device waiting for its report.
func (d *device) recordLostState(ctx workflow.Context, result activities.TransitionResult, waited bool) error {
	back := result.State == runbook.StateAwaitingReconnect || waited
	// Withdrawn, a device keeps what it had reported.
	unreported := result.State == runbook.StateWithdrawn && d.status.Reported != "" && result.Reported == ""
	if d.status.State != runbook.StateConflictPaused || !back && !unreported || mayNoLongerAct(result.Refusal) {
		return nil
	}
	change := changeNameLost
	if unreported {
		change = changeNameWithdrawn
	}
	if workflow.GetVersion(ctx, change, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	refusal := runbook.LostState(d.status.State, d.status.Reported, runbook.StateAwaitingReconnect)
	id := fmt.Sprintf("lost/%s/%d", workflow.GetInfo(ctx).WorkflowExecution.RunID, d.status.Since.UnixMilli())
	entry := runbook.TimelineEntry{Message: runbook.SignalReconnect, Version: d.status.Reported}
	return d.refuse(ctx, sent{entry: entry}, refusal, id)
}

// changeOffRoll marks the device workflows that end when their device is not on the roll any more. Those of earlier
// releases wait on.
const changeOffRoll = "off-roll"

// losePlace ends the wait where the database does not have the device on the roll: it was put back to a moment before
// the device was there. What the device had reported by then is named in the audit.
func (d *device) losePlace(
	ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal,
) (lost bool, err error) {
	if refusal == nil || refusal.Code != runbook.CodeNoRollCall ||
		workflow.GetVersion(ctx, changeOffRoll, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return false, nil
	}
	known := d.lost != nil
	d.lost = refusal
	if err := d.note(ctx, entry, refusal); err != nil || known || d.status.State != runbook.StateConflictPaused {
		return true, err
	}
	id := fmt.Sprintf("lost/%s/%d", workflow.GetInfo(ctx).WorkflowExecution.RunID, d.status.Since.UnixMilli())
	reported := runbook.TimelineEntry{Message: runbook.SignalReconnect, Version: d.status.Reported}
	return true, d.refuse(ctx, sent{entry: reported},
		runbook.LostPlace(d.status.State, d.status.Reported, d.status.RestoreID), id)
}

// mayNoLongerAct reports whether a message was refused because its restore may no longer act.
func mayNoLongerAct(refusal *runbook.Refusal) bool {
	return refusal != nil && (refusal.Code == runbook.CodeSuperseded || refusal.Code == runbook.CodeNoRollCall)
}

// enter takes over the state and versions of a transition, with the outcome where it has one.
func (d *device) enter(ctx workflow.Context, result activities.TransitionResult) {
	changed := result.State != d.status.State
	d.status.Restored, d.status.Reported = result.Restored, result.Reported
	switch result.Transition {
	case runbook.Decided:
		d.decided = decisionOf(d.status.Name, result)
	case runbook.Dropped:
		d.decided = runbook.ResumeDecision{}
	}
	if !changed {
		return
	}
	d.status.State, d.status.Since = result.State, result.At
	switch {
	case result.State == runbook.StateWithdrawn:
		d.status.Outcome = runbook.OutcomeWithdrawn
	case result.State == runbook.StateNormal && result.Next != "":
		d.status.Outcome = runbook.OutcomeResumed
		d.resume = decisionOf(d.status.Name, result)
	case result.State == runbook.StateNormal:
		d.status.Outcome = runbook.OutcomeNormal
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributeDeviceStatus.ValueSet(string(result.State))); err != nil {
		d.log.Warn("Search attribute could not be set; the list of workflows shows an older state", "error", err)
	}
}

// refuseEarlyResumes empties the resume channel before the device becomes ConflictPaused: what is in it was sent before
// there was a conflict to decide, and must not be found there when there is one.
func (d *device) refuseEarlyResumes(ctx workflow.Context) error {
	return each(ctx, d.inbox, runbook.SignalResume, func(ctx workflow.Context, l envelope[runbook.ResumeRequest]) error {
		refusal := l.refusal
		if refusal == nil {
			_, err := runbook.MayResume(runbook.Conflict{State: runbook.StateAwaitingReconnect}, "")
			refusal = runbook.AsRefusal(err)
		}
		return d.refuse(ctx, resumeSent(l.message), refusal, l.requestID)
	})
}

// learnOfSupersession asks the database whether the restore is still the current one, and ends the wait if a newer one
// has taken over (T6).
func (d *device) learnOfSupersession(ctx workflow.Context) error {
	if d.ended() {
		return nil
	}
	var restore activities.RestoreStateResult
	in := activities.RestoreRef{RestoreID: d.status.RestoreID}
	if err := runTransition(ctx, "is the restore still the current one", acts.RestoreState, in, &restore); err != nil {
		return err
	}
	if restore.State != runbook.RestoreSuperseded || d.ended() {
		return nil
	}
	d.status.Outcome = runbook.OutcomeSuperseded
	entry := runbook.TimelineEntry{
		Message: runbook.SignalSuperseded, Transition: runbook.T6, From: d.status.State,
		To: d.status.State,
	}
	return d.note(ctx, entry, nil)
}
