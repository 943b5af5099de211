package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// readMessages reads every channel until all are empty. Signals of different names that wait together have lost the order
// in which they came, so the order here is the safe one: a resume never profits from a conflict that arose after it. While
// the device awaits its reconnect, resumes are refused before any report is read; while it is paused, reports are read
// before any resume, which then decides about the newest version.
func (d *device) readMessages(ctx workflow.Context) error {
	for !d.inbox.empty() {
		steps := []func(workflow.Context) error{d.readReconnects, d.readLooks, d.readWithdrawals, d.readResumes}
		if d.status.State == runbook.StateAwaitingReconnect {
			steps = []func(workflow.Context) error{d.readResumes, d.readReconnects, d.readLooks, d.readWithdrawals}
		}
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *device) readReconnects(ctx workflow.Context) error {
	return each(ctx, d.inbox.reconnect, runbook.SignalReconnect, d.reconnect)
}

func (d *device) readWithdrawals(ctx workflow.Context) error {
	return each(ctx, d.inbox.withdraw, runbook.SignalWithdraw, d.withdraw)
}

func (d *device) readLooks(ctx workflow.Context) error {
	return each(ctx, d.inbox.look, runbook.SignalLook, d.look)
}

func (d *device) readResumes(ctx workflow.Context) error {
	return each(ctx, d.inbox.resume, runbook.SignalResume, d.resumeBySignal)
}

// resumeBySignal is a resume whose sender hears no answer: what it comes to is on the timeline.
func (d *device) resumeBySignal(ctx workflow.Context, message runbook.ResumeRequest, refusal *runbook.Refusal) error {
	if refusal != nil {
		return d.refuse(ctx, resumeEntry(message), refusal)
	}
	_, err := d.considerResume(ctx, message, d.requestID(ctx))
	return err
}

// reconnect is T2 or T3 for a device that is waited for; for a paused one it notes the newest version (T3 again).
func (d *device) reconnect(ctx workflow.Context, message runbook.ReconnectSignal, refusal *runbook.Refusal) error {
	if err := d.turn.Lock(ctx); err != nil {
		return err
	}
	defer d.turn.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalReconnect, Version: message.RenderedVersion}
	version, err := runbook.ParseVersion(message.RenderedVersion)
	if refusal == nil {
		refusal = runbook.AsRefusal(err)
	}
	switch {
	case refusal != nil:
		return d.refuse(ctx, entry, refusal)
	case d.ended():
		return d.note(ctx, entry, runbook.Refuse(runbook.CodeNotWaiting, "the device has left the roll call already"))
	case d.status.State == runbook.StateConflictPaused && version.String() == d.status.Reported:
		return d.note(ctx, entry, nil)
	}
	var result activities.TransitionResult
	err = carryOut(ctx, "reconnect with version "+version.String(), acts.Reconnect, activities.ReconnectInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		Restored: d.status.Restored, Reported: message.RenderedVersion, RequestID: d.requestID(ctx),
	}, &result)
	return d.follow(ctx, entry, result, err)
}

// withdraw is T5, where the inventory agrees that the device is gone.
func (d *device) withdraw(ctx workflow.Context, message runbook.WithdrawSignal, refusal *runbook.Refusal) error {
	if err := d.turn.Lock(ctx); err != nil {
		return err
	}
	defer d.turn.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalWithdraw, By: message.By, Reason: message.Reason}
	switch {
	case refusal != nil:
		return d.refuse(ctx, entry, refusal)
	case d.ended():
		return d.note(ctx, entry, runbook.Refuse(runbook.CodeNotWaiting, "the device has left the roll call already"))
	}
	var result activities.TransitionResult
	err := carryOut(ctx, "withdraw from the roll", acts.Withdraw, activities.WithdrawInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		By: message.By, Reason: message.Reason, Force: message.Force, RequestID: d.requestID(ctx),
	}, &result)
	return d.follow(ctx, entry, result, err)
}

// look follows the device to where another hand has put it in the database: Flight Control, answering the agents itself,
// may have done T2, T3 or T4, and a device may be gone (T5).
func (d *device) look(ctx workflow.Context, _ runbook.LookSignal, refusal *runbook.Refusal) error {
	if err := d.turn.Lock(ctx); err != nil {
		return err
	}
	defer d.turn.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalLook}
	switch {
	case refusal != nil:
		return d.refuse(ctx, entry, refusal)
	case d.ended():
		return d.note(ctx, entry, runbook.Refuse(runbook.CodeNotWaiting, "the device has left the roll call already"))
	}
	var result activities.TransitionResult
	err := carryOut(ctx, "look where the device stands", acts.Look, activities.LookInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name, RequestID: d.requestID(ctx),
	}, &result)
	entry.By, entry.Version, entry.Reason = result.By, result.Reported, result.Reason
	return d.follow(ctx, entry, result, err)
}

// requestID names a signal's write, so that trying it again is the same request. It is unique to the run and the message.
func (d *device) requestID(ctx workflow.Context) string {
	d.asked++
	return fmt.Sprintf("%s/%d", workflow.GetInfo(ctx).WorkflowExecution.RunID, d.asked)
}
