package workflows

import (
	"cmp"
	"time"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// readMessages reads every channel until all are empty. Signals of different names that wait together have lost the
// order in which they came, so the order here is the safe one: a resume never profits from a conflict that arose after
// it. While the device awaits its reconnect, resumes are refused before any report is read; while it is paused,
// reports are read before any resume, which then decides about the newest version.
func (d *device) readMessages(ctx workflow.Context) error {
	for d.first != nil || !d.inbox.empty(ctx) {
		steps := []func(workflow.Context) error{
			d.begin, d.readReconnects, d.readLooks, d.readWithdrawals, d.readResumes, d.readUnknown,
		}
		if d.status.State == runbook.StateAwaitingReconnect {
			steps = []func(workflow.Context) error{
				d.readResumes, d.begin, d.readReconnects, d.readLooks, d.readWithdrawals, d.readUnknown,
			}
		}
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin deals with what the device begins with.
func (d *device) begin(ctx workflow.Context) error {
	first := d.first
	if d.first = nil; first == nil {
		return nil
	}
	return first(ctx)
}

func (d *device) readReconnects(ctx workflow.Context) error {
	return each(ctx, d.inbox, runbook.SignalReconnect, d.reconnect)
}

func (d *device) readWithdrawals(ctx workflow.Context) error {
	return each(ctx, d.inbox, runbook.SignalWithdraw, d.withdraw)
}

func (d *device) readLooks(ctx workflow.Context) error {
	return each(ctx, d.inbox, runbook.SignalLook, d.sync)
}

func (d *device) readResumes(ctx workflow.Context) error {
	return each(ctx, d.inbox, runbook.SignalResume, d.resumeBySignal)
}

// resumeBySignal is a resume whose sender hears no answer: what it comes to is on the timeline.
func (d *device) resumeBySignal(ctx workflow.Context, l envelope[runbook.ResumeRequest]) error {
	if l.refusal != nil && !wasRead(ctx, l.message) {
		return d.refuse(ctx, resumeSent(l.message), l.refusal, l.requestID)
	}
	_, err := d.considerResume(ctx, l.message, l.requestID)
	return err
}

// changeBoundPlan marks the device workflows that refuse a resume for the name of its plan alone.
const changeBoundPlan = "bound-plan"

// wasRead reports whether a worker of an earlier release has read a resume that is now refused: it did not look at the
// name of the plan.
func wasRead(ctx workflow.Context, request runbook.ResumeRequest) bool {
	request.Plan = ""
	return request.Check() == nil &&
		workflow.GetVersion(ctx, changeBoundPlan, workflow.DefaultVersion, 1) == workflow.DefaultVersion
}

// reconnect deals with a report that came as a signal.
func (d *device) reconnect(ctx workflow.Context, l envelope[runbook.ReconnectSignal]) error {
	_, _, err := d.considerReconnect(ctx, l, runTransition)
	return err
}

// answerReconnect answers the update. An agent's report that is in the same task counts before what a person says: the
// SDK runs the workflow, which reads the signals, before the handlers of updates. A report that the database did not
// take, because another was written before, is refused. One that finds the device gone is accepted and says so (T5).
func (d *device) answerReconnect(ctx workflow.Context, in runbook.ReconnectRequest) (runbook.DeviceAnswer, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	l := envelope[runbook.ReconnectSignal]{message: in.Signal(), requestID: updateRequest(ctx)}
	result, refusal, err := d.considerReconnect(ctx, l, runAccepted)
	if result.Now != nil && refusal == nil { // it was accepted before
		answer := d.answer(nil)
		answer.State, answer.Restored, answer.Reported = result.State, result.Restored, result.Reported
		return answer, err
	}
	overtaken := d.status.State != runbook.StateWithdrawn && runbook.OrZero(d.status.Reported) != in.RenderedVersion
	if refusal == nil && err == nil && overtaken {
		refusal = runbook.Refuse(runbook.CodeNotWaiting, "it was %s with version %s before the report was read",
			d.status.State, runbook.OrZero(d.status.Reported))
	}
	return d.answer(refusal), err
}

// answer is what an update that was refused, or accepted where refusal is nil, has come to.
func (d *device) answer(refusal *runbook.Refusal) runbook.DeviceAnswer {
	s := d.status
	answer := runbook.DeviceAnswer{
		Accepted: refusal == nil, Name: s.Name, RestoreID: s.RestoreID,
		State: s.State, Restored: s.Restored, Reported: s.Reported,
	}
	if refusal != nil {
		answer.Code, answer.Message = refusal.Code, refusal.Message
	}
	return answer
}

// leftAlready notes a message for a device that has left the roll call, and returns its refusal.
func (d *device) leftAlready(ctx workflow.Context, entry runbook.TimelineEntry) (*runbook.Refusal, error) {
	refusal := runbook.Refuse(runbook.CodeNotWaiting, "the device has left the roll call already")
	return refusal, d.note(ctx, entry, refusal)
}

// considerReconnect is T2 or T3 for a device that is waited for; for a paused one it notes the newest version (T3
// again). It returns what the database has answered, if it was asked, and why the report was refused, or nil.
func (d *device) considerReconnect(
	ctx workflow.Context, l envelope[runbook.ReconnectSignal], run transitionRunner,
) (result activities.TransitionResult, refusal *runbook.Refusal, err error) {
	if err := d.mutex.Lock(ctx); err != nil {
		return result, nil, err
	}
	defer d.mutex.Unlock()
	reported := l.message.RenderedVersion
	entry := runbook.TimelineEntry{
		Message: runbook.SignalReconnect, Version: reported, By: l.message.Reporter(), Reason: l.message.Reason,
		Via: viaOf(l.message.Origin),
	}
	version, err := runbook.ParseVersion(reported)
	refusal = cmp.Or(l.refusal, runbook.AsRefusal(err))
	switch {
	case refusal != nil:
		return result, refusal, d.refuse(ctx, sent{entry, l.message.Origin}, refusal, l.requestID)
	case d.ended():
		refusal, err = d.leftAlready(ctx, entry)
		return result, refusal, err
	case d.status.State == runbook.StateConflictPaused && version.String() == d.status.Reported &&
		!d.shouldAskAgain(ctx) && !keepsWord(ctx, l.message):
		return result, nil, d.note(ctx, entry, nil)
	}
	d.reportWrittenAt = workflow.Now(ctx)
	err = run(ctx, "reconnect with version "+version.String(), acts.Reconnect, activities.ReconnectInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		Restored: d.status.Restored, Reported: reported, RequestID: l.requestID,
		By: l.message.Reporter(), Reason: l.message.Reason, Origin: l.message.Origin,
	}, &result)
	return result, cmp.Or(runbook.AsRefusal(err), result.Refusal), d.follow(ctx, entry, result, err)
}

// changeKeepWord marks the device workflows that keep in the audit what a person says, also where it is what the device
// has reported before. Those of earlier releases only noted it.
const changeKeepWord = "keep-word"

// keepsWord reports whether a report that says nothing new reaches the database because a person says it.
func keepsWord(ctx workflow.Context, message runbook.ReconnectSignal) bool {
	return message.By != "" &&
		workflow.GetVersion(ctx, changeKeepWord, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// askAgain is after how long a report that says nothing new reaches the database again. Where that was put back to an
// earlier moment, it does not know the report.
const askAgain = time.Minute

// changeAskAgain marks the device workflows that let such reports reach the database; those of earlier releases did
// not.
const changeAskAgain = "ask-again"

// shouldAskAgain reports whether it is time for the database to hear what a paused device reports once more.
func (d *device) shouldAskAgain(ctx workflow.Context) bool {
	return workflow.Now(ctx).Sub(d.reportWrittenAt) >= askAgain &&
		workflow.GetVersion(ctx, changeAskAgain, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// withdraw deals with a withdrawal that came as a signal.
func (d *device) withdraw(ctx workflow.Context, l envelope[runbook.WithdrawSignal]) error {
	_, err := d.considerWithdraw(ctx, l, runTransition)
	return err
}

// answerWithdraw answers the update. A device that something else has ended meanwhile was not withdrawn.
func (d *device) answerWithdraw(ctx workflow.Context, in runbook.WithdrawRequest) (runbook.DeviceAnswer, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	l := envelope[runbook.WithdrawSignal]{message: in.Signal(), requestID: updateRequest(ctx)}
	refusal, err := d.considerWithdraw(ctx, l, runAccepted)
	if refusal == nil && d.status.State != runbook.StateWithdrawn {
		refusal = runbook.Refuse(runbook.CodeNotWaiting, "it was %s before the withdrawal was read", d.status.State)
	}
	return d.answer(refusal), err
}

// considerWithdraw is T5, where the inventory agrees that the device is gone. It returns why the withdrawal was
// refused, or nil.
func (d *device) considerWithdraw(
	ctx workflow.Context, l envelope[runbook.WithdrawSignal], run transitionRunner,
) (*runbook.Refusal, error) {
	if err := d.mutex.Lock(ctx); err != nil {
		return nil, err
	}
	defer d.mutex.Unlock()
	entry := runbook.TimelineEntry{
		Message: runbook.SignalWithdraw, By: l.message.By, Reason: l.message.Reason, Via: viaOf(l.message.Origin),
	}
	switch {
	case l.refusal != nil:
		return l.refusal, d.refuse(ctx, sent{entry, l.message.Origin}, l.refusal, l.requestID)
	case d.ended():
		return d.leftAlready(ctx, entry)
	}
	var result activities.TransitionResult
	err := run(ctx, "withdraw from the roll", acts.Withdraw, activities.WithdrawInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		By: l.message.By, Reason: l.message.Reason, Force: l.message.Force, Decommission: l.message.Decommission,
		RequestID: l.requestID,
		Origin:    l.message.Origin,
	}, &result)
	return cmp.Or(runbook.AsRefusal(err), result.Refusal), d.follow(ctx, entry, result, err)
}

// look follows the device to where another hand has put it in the database: Flight Control, answering the agents
// itself, may have done T2, T3 or T4, and a device may be gone (T5).
func (d *device) sync(ctx workflow.Context, l envelope[runbook.LookSignal]) error {
	if err := d.mutex.Lock(ctx); err != nil {
		return err
	}
	defer d.mutex.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalLook}
	switch {
	case l.refusal != nil:
		return d.refuse(ctx, sent{entry: entry}, l.refusal, l.requestID)
	case d.ended():
		_, err := d.leftAlready(ctx, entry)
		return err
	}
	var result activities.TransitionResult
	err := runTransition(ctx, "look where the device stands", acts.Look, activities.LookInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name, RequestID: l.requestID,
	}, &result)
	entry.By, entry.Version, entry.Reason = result.By, result.Reported, result.Reason
	return d.follow(ctx, entry, result, err)
}

// changeUnknownSignals marks the device workflows whose refusals of unknown signals go to the audit; those of earlier
// releases have left such signals unread.
const changeUnknownSignals = "unknown-signals"

// readUnknown refuses the signals whose names the workflow does not know, so that a mistyped name is seen.
func (d *device) readUnknown(ctx workflow.Context) error {
	for {
		name, requestID, ok := d.inbox.nextUnknown(ctx)
		if !ok {
			return nil
		}
		entry, refusal := runbook.TimelineEntry{Message: name}, runbook.UnknownSignal(name, d.inbox.names)
		var err error
		if workflow.GetVersion(ctx, changeUnknownSignals, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
			err = d.note(ctx, entry, refusal)
		} else {
			err = d.refuse(ctx, sent{entry: entry}, refusal, requestID)
		}
		if err != nil {
			return err
		}
	}
}
