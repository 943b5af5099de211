package workflows

import (
	"cmp"
	"time"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// readMessages reads all that is there. Signals of both names that wait together have lost the order in which they
// came, so the denial is read first: a device that one human wants to keep out does not slip in.
func (e *enrollment) readMessages(ctx workflow.Context) error {
	for !e.inbox.empty(ctx) {
		if err := e.readMessage(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (e *enrollment) readMessage(ctx workflow.Context) (err error) {
	if l, ok := next[runbook.DenyRequest](e.inbox, runbook.SignalDeny); ok {
		_, err = e.considerDeny(ctx, l, runTransition)
	} else if l, ok := next[runbook.ApproveRequest](e.inbox, runbook.SignalApprove); ok {
		_, err = e.considerApprove(ctx, l, runTransition)
	} else if l, ok := next[runbook.LookSignal](e.inbox, runbook.SignalLook); ok {
		err = e.look(ctx, l)
	} else if name, requestID, ok := e.inbox.nextUnknown(ctx); ok {
		err = e.refuseUnknown(ctx, name, requestID)
	}
	return err
}

// refuseUnknown refuses a signal whose name the workflow does not know, so that a mistyped name is seen.
func (e *enrollment) refuseUnknown(ctx workflow.Context, name, requestID string) error {
	entry, refusal := runbook.TimelineEntry{Message: name}, runbook.UnknownSignal(name, e.inbox.names)
	if workflow.GetVersion(ctx, changeUnknownSignals, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		e.note(ctx, entry, refusal)
		return nil
	}
	_, err := e.refuse(ctx, sent{entry: entry}, refusal, requestID)
	return err
}

// changeFollowRequest marks the enrollment workflows that follow what Flight Control decides itself. Those of earlier
// releases have refused the signal as one of an unknown name.
const changeFollowRequest = "follow-request"

// look follows a decision that was taken elsewhere: Flight Control has approved the request itself, or deleted it. A
// request that is still pending goes on waiting.
func (e *enrollment) look(ctx workflow.Context, l envelope[runbook.LookSignal]) error {
	if workflow.GetVersion(ctx, changeFollowRequest, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return e.refuseUnknown(ctx, runbook.SignalLook, l.requestID)
	}
	if err := e.mutex.Lock(ctx); err != nil {
		return err
	}
	defer e.mutex.Unlock()
	entry := runbook.TimelineEntry{Message: runbook.SignalLook}
	switch {
	case e.decided():
		return e.checkLocked(ctx)
	case l.refusal != nil:
		_, err := e.refuse(ctx, sent{entry: entry}, l.refusal, l.requestID)
		return err
	}
	return e.followElsewhere(ctx, l.requestID)
}

// followElsewhere takes over what was decided elsewhere, if anything was.
func (e *enrollment) followElsewhere(ctx workflow.Context, requestID string) error {
	entry := runbook.TimelineEntry{Message: runbook.SignalLook}
	var result activities.DecidedResult
	err := runTransition(ctx, "look whether it was decided elsewhere", acts.FollowRequest, activities.FollowRequestInput{
		OrgID: e.status.OrgID, Name: e.status.Name, Since: e.status.Since, RequestID: requestID,
	}, &result)
	if err == nil && result.State == runbook.EnrollmentPending {
		return nil
	}
	e.elsewhere = result.Elsewhere
	entry.By, entry.Reason = result.By, result.Reason
	_, err = e.follow(ctx, entry, result, err)
	return err
}

// decideApprove and decideDeny answer the updates, whose ids name the requests.
func (e *enrollment) decideApprove(
	ctx workflow.Context, request runbook.ApproveRequest,
) (runbook.EnrollmentDecision, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	l := envelope[runbook.ApproveRequest]{message: request, requestID: updateRequest(ctx)}
	return e.considerApprove(ctx, l, updateRunner(ctx))
}

func (e *enrollment) decideDeny(ctx workflow.Context, request runbook.DenyRequest) (runbook.EnrollmentDecision, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	l := envelope[runbook.DenyRequest]{message: request, requestID: updateRequest(ctx)}
	return e.considerDeny(ctx, l, updateRunner(ctx))
}

// changeDecideAccepted marks the enrollment workflows that write a decision only once Temporal has stored that there is
// such an update. Those of earlier releases write it before.
const changeDecideAccepted = "decide-accepted"

// updateRunner carries out what an update decides. A decision whose update Temporal forgets would leave the workflow
// waiting for one.
func updateRunner(ctx workflow.Context) transitionRunner {
	if workflow.GetVersion(ctx, changeDecideAccepted, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return runTransition
	}
	return runAccepted
}

// maySettle refuses a decision that cannot be read. Whether it counts, the database says: it may have lost what the
// workflow knows, and it has the first answer to a command that is given again.
func (e *enrollment) maySettle(
	ctx workflow.Context, unreadable *runbook.Refusal, may func(runbook.Enrollment, string) error,
) (*runbook.Refusal, error) {
	if unreadable != nil {
		return unreadable, nil
	}
	if err := e.checkLocked(ctx); err != nil {
		return nil, err
	}
	refusal := runbook.AsRefusal(may(e.request(), e.status.Name))
	if refusal == nil || databaseRefuses(ctx) {
		return nil, nil
	}
	return refusal, nil
}

func (e *enrollment) considerApprove(
	ctx workflow.Context, l envelope[runbook.ApproveRequest], run transitionRunner,
) (runbook.EnrollmentDecision, error) {
	if err := e.mutex.Lock(ctx); err != nil {
		return runbook.EnrollmentDecision{}, err
	}
	defer e.mutex.Unlock()
	request := l.message
	entry := runbook.TimelineEntry{
		Message: runbook.SignalApprove, By: request.By, Reason: request.Reason,
		Via: viaOf(request.Origin),
	}
	refusal, err := e.maySettle(ctx, l.refusal, runbook.MayApprove)
	if err != nil {
		return runbook.EnrollmentDecision{}, err
	}
	if refusal != nil {
		return e.refuse(ctx, sent{entry, request.Origin}, refusal, l.requestID)
	}
	var result activities.DecidedResult
	err = run(ctx, "approve by "+request.By, acts.Approve, activities.ApproveInput{
		OrgID: e.status.OrgID, Name: e.status.Name, By: request.By, Reason: request.Reason, Labels: request.Labels,
		ReplaceLabels: request.ReplaceLabels,
		ExpectKey:     request.ExpectKey, RequestID: l.requestID, Origin: request.Origin,
	}, &result)
	return e.follow(ctx, entry, result, err)
}

func (e *enrollment) considerDeny(
	ctx workflow.Context, l envelope[runbook.DenyRequest], run transitionRunner,
) (runbook.EnrollmentDecision, error) {
	if err := e.mutex.Lock(ctx); err != nil {
		return runbook.EnrollmentDecision{}, err
	}
	defer e.mutex.Unlock()
	request := l.message
	entry := runbook.TimelineEntry{
		Message: runbook.SignalDeny, By: request.By, Reason: request.Reason,
		Via: viaOf(request.Origin),
	}
	refusal, err := e.maySettle(ctx, l.refusal, runbook.MayDeny)
	if err != nil {
		return runbook.EnrollmentDecision{}, err
	}
	if refusal != nil {
		return e.refuse(ctx, sent{entry, request.Origin}, refusal, l.requestID)
	}
	var result activities.DecidedResult
	err = run(ctx, "deny by "+request.By, acts.Deny, activities.DenyInput{
		Delete: request.Delete,
		OrgID:  e.status.OrgID, Name: e.status.Name, By: request.By, Reason: request.Reason, RequestID: l.requestID,
		Origin: request.Origin,
	}, &result)
	return e.follow(ctx, entry, result, err)
}

// request is the request as the workflow knows it. The activity reads the database again.
func (e *enrollment) request() runbook.Enrollment {
	s := runbook.Enrollment{Exists: e.status.State != runbook.EnrollmentGone, State: e.status.State}
	if e.status.Decision != nil {
		s.DecidedBy = e.status.Decision.By
	}
	return s
}

// follow brings the workflow to where the database says that the request stands now, whoever decided about it, and
// answers.
func (e *enrollment) follow(
	ctx workflow.Context, entry runbook.TimelineEntry, result activities.DecidedResult, err error,
) (runbook.EnrollmentDecision, error) {
	refusal := cmp.Or(runbook.AsRefusal(err), result.Refusal)
	if err != nil && refusal == nil {
		return runbook.EnrollmentDecision{}, err
	}
	known := refusal != nil && e.decided() // a refusal says less of the decision that stands
	if result.State != "" && result.State != runbook.EnrollmentPending && !known {
		was := e.status.Decision
		e.enter(ctx, result)
		if err := e.nameReplaced(ctx, was); err != nil {
			return runbook.EnrollmentDecision{}, err
		}
	}
	entry.To, entry.Identity = result.Device, result.Identity
	e.note(ctx, entry, refusal)
	if refusal != nil {
		return e.refusedDecision(refusal), nil
	}
	return *e.status.Decision, nil
}

// nameReplaced has the device of a decision called that came after another one, and names the other in the audit where
// the database has lost it just before.
func (e *enrollment) nameReplaced(ctx workflow.Context, was *runbook.EnrollmentDecision) error {
	now := e.status.Decision
	if was == nil || was.At == nil || now.At == nil || was.At.Equal(*now.At) {
		return nil
	}
	e.device, e.elsewhere = nil, false
	if stands, err := e.stands(ctx, *was); err != nil || stands {
		return err
	}
	return e.nameLost(ctx, *was)
}

// enter takes over a decision that stands.
func (e *enrollment) enter(ctx workflow.Context, result activities.DecidedResult) {
	e.status.State = result.State
	e.status.Decision = &runbook.EnrollmentDecision{
		Accepted: result.State != runbook.EnrollmentGone, Name: e.status.Name, State: result.State, Device: result.Device,
		RestoreID: result.RestoreID,
		By:        result.By, Reason: result.Reason,
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
func (e *enrollment) refuse(
	ctx workflow.Context, s sent, refusal *runbook.Refusal, requestID string,
) (runbook.EnrollmentDecision, error) {
	entry := storable(s.entry)
	e.note(ctx, entry, refusal)
	err := runTransition(ctx, "record refused "+entry.Message, acts.RecordRefusal, activities.RefusalInput{
		RestoreID: e.status.RestoreID, OrgID: e.status.OrgID, Name: e.status.Name,
		Message: entry.Message, By: entry.By, Reason: entry.Reason, Refusal: *refusal, RequestID: requestID,
		Origin: s.origin,
	}, nil)
	return e.refusedDecision(refusal), onlyIfFailed(e.log, entry, err)
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
	entry = storable(entry)
	entry.At, entry.Accepted = workflow.Now(ctx).Truncate(time.Millisecond), refusal == nil
	if refusal != nil {
		entry = refusedEntry(entry, refusal)
		e.log.Warn("Message refused", "message", entry.Message, "code", refusal.Code, "by", entry.By)
	}
	e.status.Timeline = append(e.status.Timeline, entry)
	if over := len(e.status.Timeline) - timelineLimit; over > 0 {
		e.status.Timeline = e.status.Timeline[over:]
	}
	e.showDetails(ctx)
}
