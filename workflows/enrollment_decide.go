package workflows

import (
	"cmp"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// enrollmentInbox is the signals that a request has been sent and nobody has read, received raw like a device's.
type enrollmentInbox struct{ approve, deny workflow.ReceiveChannel }

func openEnrollmentInbox(ctx workflow.Context) enrollmentInbox {
	return enrollmentInbox{
		approve: workflow.GetSignalChannel(ctx, runbook.SignalApprove),
		deny:    workflow.GetSignalChannel(ctx, runbook.SignalDeny),
	}
}

func (i enrollmentInbox) empty() bool { return i.approve.Len()+i.deny.Len() == 0 }

// readMessages reads all that is there. Signals of both names that wait together have lost the order in which they came,
// so the denial is read first: a device that one human wants to keep out does not slip in.
func (e *enrollment) readMessages(ctx workflow.Context) error {
	for !e.inbox.empty() {
		if message, refusal, ok := next[runbook.DenyRequest](e.inbox.deny, runbook.SignalDeny); ok {
			if _, err := e.considerDeny(ctx, message, cmp.Or(refusal, runbook.AsRefusal(message.Check())), e.requestID(ctx)); err != nil {
				return err
			}
			continue
		}
		if message, refusal, ok := next[runbook.ApproveRequest](e.inbox.approve, runbook.SignalApprove); ok {
			if _, err := e.considerApprove(ctx, message, cmp.Or(refusal, runbook.AsRefusal(message.Check())), e.requestID(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkApprove and checkDeny are the updates' validators. They turn away what cannot be read at all, which leaves nothing
// in the history; what may not count is answered with a refusal that the timeline and the audit keep.
func checkApprove(request runbook.ApproveRequest) error { return unreadable(request.Check()) }

func checkDeny(request runbook.DenyRequest) error { return unreadable(request.Check()) }

func unreadable(err error) error {
	if refusal := runbook.AsRefusal(err); refusal != nil {
		return temporal.NewNonRetryableApplicationError(refusal.Message, string(refusal.Code), nil)
	}
	return nil
}

// decideApprove and decideDeny answer the updates, whose ids name the requests.
func (e *enrollment) decideApprove(ctx workflow.Context, request runbook.ApproveRequest) (runbook.EnrollmentDecision, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return e.considerApprove(ctx, request, nil, workflow.GetCurrentUpdateInfo(ctx).ID)
}

func (e *enrollment) decideDeny(ctx workflow.Context, request runbook.DenyRequest) (runbook.EnrollmentDecision, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return e.considerDeny(ctx, request, nil, workflow.GetCurrentUpdateInfo(ctx).ID)
}

func (e *enrollment) considerApprove(ctx workflow.Context, request runbook.ApproveRequest, refusal *runbook.Refusal, requestID string) (runbook.EnrollmentDecision, error) {
	if err := e.turn.Lock(ctx); err != nil {
		return runbook.EnrollmentDecision{}, err
	}
	defer e.turn.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalApprove, By: request.By, Reason: request.Reason}
	if refusal = cmp.Or(refusal, runbook.AsRefusal(runbook.MayApprove(e.stands(), e.status.Name))); refusal != nil {
		return e.refuse(ctx, entry, refusal, requestID)
	}
	var result activities.DecidedResult
	err := carryOut(ctx, "approve by "+request.By, acts.Approve, activities.ApproveInput{
		OrgID: e.status.OrgID, Name: e.status.Name, By: request.By, Reason: request.Reason, Labels: request.Labels,
		ExpectKey: request.ExpectKey, RequestID: requestID,
	}, &result)
	return e.follow(ctx, entry, result, err)
}

func (e *enrollment) considerDeny(ctx workflow.Context, request runbook.DenyRequest, refusal *runbook.Refusal, requestID string) (runbook.EnrollmentDecision, error) {
	if err := e.turn.Lock(ctx); err != nil {
		return runbook.EnrollmentDecision{}, err
	}
	defer e.turn.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalDeny, By: request.By, Reason: request.Reason}
	if refusal = cmp.Or(refusal, runbook.AsRefusal(runbook.MayDeny(e.stands(), e.status.Name))); refusal != nil {
		return e.refuse(ctx, entry, refusal, requestID)
	}
	var result activities.DecidedResult
	err := carryOut(ctx, "deny by "+request.By, acts.Deny, activities.DenyInput{
		OrgID: e.status.OrgID, Name: e.status.Name, By: request.By, Reason: request.Reason, RequestID: requestID,
	}, &result)
	return e.follow(ctx, entry, result, err)
}

// stands is what a decision is about, as the workflow knows it; the activity looks at the database once more.
func (e *enrollment) stands() runbook.Enrollment {
	s := runbook.Enrollment{Exists: e.status.State != runbook.EnrollmentGone, State: e.status.State}
	if e.status.Decision != nil {
		s.DecidedBy = e.status.Decision.By
	}
	return s
}

// follow brings the workflow to where the database says that the request stands now, whoever decided about it, and answers.
func (e *enrollment) follow(ctx workflow.Context, entry runbook.TimelineEntry, result activities.DecidedResult, err error) (runbook.EnrollmentDecision, error) {
	refusal := cmp.Or(runbook.AsRefusal(err), result.Refusal)
	if err != nil && refusal == nil {
		return runbook.EnrollmentDecision{}, err
	}
	if result.State != "" && result.State != runbook.EnrollmentPending {
		e.enter(ctx, result)
	}
	entry.To = result.Device
	e.note(ctx, entry, refusal)
	if refusal != nil {
		return e.refusedDecision(refusal), nil
	}
	return *e.status.Decision, nil
}

// enter takes over a decision that stands.
func (e *enrollment) enter(ctx workflow.Context, result activities.DecidedResult) {
	e.status.State = result.State
	e.status.Decision = &runbook.EnrollmentDecision{
		Accepted: result.State != runbook.EnrollmentGone, Name: e.status.Name, State: result.State, Device: result.Device, RestoreID: result.RestoreID,
		By: result.By, Reason: result.Reason,
	}
	if !result.At.IsZero() {
		at := result.At
		e.status.Decision.At = &at
	}
	if result.RestoreID == "" || result.RestoreID == e.status.RestoreID {
		return
	}
	e.status.RestoreID = result.RestoreID
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributeRestoreID.ValueSet(result.RestoreID)); err != nil {
		e.log.Warn("Search attribute could not be set; the list of workflows shows an older restore", "error", err)
	}
}

// refuse notes a refused message, writes it to the audit, and answers.
func (e *enrollment) refuse(ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal, requestID string) (runbook.EnrollmentDecision, error) {
	e.note(ctx, entry, refusal)
	err := carryOut(ctx, "record refused "+entry.Message, acts.RecordRefusal, activities.RefusalInput{
		RestoreID: e.status.RestoreID, OrgID: e.status.OrgID, Name: e.status.Name,
		Message: entry.Message, By: entry.By, Reason: entry.Reason, Refusal: *refusal, RequestID: requestID,
	}, nil)
	return e.refusedDecision(refusal), err
}

// refusedDecision is a refusal as an answer, with the decision that stands where there is one.
func (e *enrollment) refusedDecision(refusal *runbook.Refusal) runbook.EnrollmentDecision {
	decision := runbook.EnrollmentDecision{Name: e.status.Name, State: e.status.State}
	if e.status.Decision != nil {
		decision = *e.status.Decision
	}
	decision.Accepted, decision.Code, decision.Message = false, refusal.Code, refusal.Message
	return decision
}

// note puts a message on the timeline, of which the oldest entries go when it grows long; the audit has them all.
func (e *enrollment) note(ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal) {
	entry.At, entry.Accepted = workflow.Now(ctx).Truncate(time.Millisecond), refusal == nil
	if refusal != nil {
		entry.Code, entry.Why = refusal.Code, refusal.Message
		e.log.Warn("Message refused", "message", entry.Message, "code", refusal.Code, "by", entry.By)
	}
	e.status.Timeline = append(e.status.Timeline, entry)
	if over := len(e.status.Timeline) - timelineLimit; over > 0 {
		e.status.Timeline = e.status.Timeline[over:]
	}
	e.showDetails(ctx)
}

// requestID names a signal's write, so that trying it again is the same request. It is unique to the run and the message.
func (e *enrollment) requestID(ctx workflow.Context) string {
	e.asked++
	return fmt.Sprintf("%s/%d", workflow.GetInfo(ctx).WorkflowExecution.RunID, e.asked)
}
