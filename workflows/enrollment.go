package workflows

import (
	"cmp"
	"fmt"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// EnrollmentWorkflow is one enrollment request's wait for a human: it is approved, and then its device's part in the
// roll call is run to its end where it has one, or it is denied. Where the database, put back to an earlier moment, has
// lost the decision, the request waits again. A cancellation ends the wait and leaves the request as it is.
func EnrollmentWorkflow(ctx workflow.Context, in runbook.EnrollmentInput) (runbook.EnrollmentResult, error) {
	e, err := setUpEnrollment(ctx, in)
	if err != nil {
		return runbook.EnrollmentResult{}, err
	}
	return e.run(ctx)
}

// enrollment is the state of one EnrollmentWorkflow.
type enrollment struct {
	status runbook.EnrollmentStatus
	inbox  *mailbox
	// mutex lets one decision at a time reach the database, so that the second of two sees the result of the first.
	mutex workflow.Mutex
	// device is how its device's roll call ended.
	device *runbook.DeviceResult
	// calling reports whether the workflow of its device is being run.
	calling bool
	// elsewhere reports whether Flight Control has decided the request itself. Its watch then runs the device's roll call.
	elsewhere bool
	// broken is an error that a retry cannot fix, found while messages were read.
	broken error
	log    log.Logger
}

// setUpEnrollment checks the input and registers all handlers before the workflow first blocks.
func setUpEnrollment(ctx workflow.Context, in runbook.EnrollmentInput) (*enrollment, error) {
	if in.OrgID == "" || in.Name == "" {
		return nil, temporal.NewNonRetryableApplicationError("orgId and name must be set", string(runbook.CodeInvalidRequest),
			nil)
	}
	e := &enrollment{
		status: runbook.EnrollmentStatus{
			OrgID: in.OrgID, Name: in.Name, RestoreID: in.RestoreID, State: runbook.EnrollmentPending,
			Since: in.Since, Timeline: in.Timeline,
		},
		inbox: openMailbox(ctx, runbook.SignalApprove, runbook.SignalDeny, runbook.SignalLook),
		mutex: workflow.NewMutex(ctx),
		log:   log.With(workflow.GetLogger(ctx), "restore", in.RestoreID, "org", in.OrgID, "request", in.Name),
	}
	if e.status.Since.IsZero() {
		e.status.Since = workflow.Now(ctx)
	}
	if e.status.Timeline == nil {
		e.status.Timeline = []runbook.TimelineEntry{}
	}
	e.showDetails(ctx)
	if err := workflow.SetQueryHandler(ctx, runbook.QueryState, func() (runbook.EnrollmentStatus, error) {
		return e.status, nil
	}); err != nil {
		return nil, fmt.Errorf("register query %s: %w", runbook.QueryState, err)
	}
	return e, cmp.Or(
		answerUpdates(ctx, runbook.UpdateApprove, "Approve the request: a human's decision to let the device in", nil,
			e.decideApprove),
		answerUpdates(ctx, runbook.UpdateDeny, "Deny the request: a human's decision to keep the device out", nil,
			e.decideDeny),
	)
}

// run is the story: a human decides, and the device that was let in is called like all the others.
func (e *enrollment) run(ctx workflow.Context) (runbook.EnrollmentResult, error) {
	if err := e.markSearchable(ctx); err != nil {
		return runbook.EnrollmentResult{}, err
	}
	e.listen(ctx)
	for {
		err := e.awaitDecision(ctx)
		if err == nil && !e.decided() {
			if err := e.drain(ctx); err != nil || !e.decided() {
				return runbook.EnrollmentResult{}, cmp.Or(err, e.continueAsNew(ctx))
			}
		}
		decision := e.status.Decision
		if err == nil && !e.elsewhere && e.device == nil {
			err = e.runRollCall(ctx)
		}
		if err := e.drain(ctx); err != nil {
			return runbook.EnrollmentResult{}, err
		}
		if err == nil && e.status.Decision != decision {
			continue // the database has lost the decision
		}
		return e.finish(err)
	}
}

// markSearchable sets the device's name as a search attribute where whoever started the workflow has not.
func (e *enrollment) markSearchable(ctx workflow.Context) error {
	if _, ok := workflow.GetTypedSearchAttributes(ctx).GetKeyword(attributeDeviceName); ok {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, attributeDeviceName.ValueSet(e.status.Name))
}

func (e *enrollment) decided() bool { return e.status.State != runbook.EnrollmentPending }

// listen reads signals for as long as the workflow runs.
func (e *enrollment) listen(ctx workflow.Context) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for workflow.Await(ctx, func() bool { return !e.inbox.empty(ctx) }) == nil {
			e.broken = cmp.Or(e.broken, e.readMessages(ctx))
		}
	})
}

// awaitDecision blocks until the request is decided, or the history is so long that a fresh one should go on. The
// error is a cancellation, or what cannot be mended.
func (e *enrollment) awaitDecision(ctx workflow.Context) error {
	err := workflow.Await(ctx, func() bool {
		return e.decided() || e.broken != nil || workflow.GetInfo(ctx).GetContinueAsNewSuggested()
	})
	return cmp.Or(e.broken, err)
}

// drain waits until every message is read and every update is answered.
func (e *enrollment) drain(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err := workflow.Await(ctx, func() bool {
		return e.broken != nil || e.inbox.empty(ctx) && !e.mutex.IsLocked() && workflow.AllHandlersFinished(ctx)
	})
	return cmp.Or(e.broken, err)
}

// finish returns the outcome or the cancellation that ended the wait.
func (e *enrollment) finish(ended error) (runbook.EnrollmentResult, error) {
	if ended != nil {
		return runbook.EnrollmentResult{}, ended
	}
	e.log.Info("Enrollment has ended", "state", e.status.State, "by", e.status.Decision.By)
	return runbook.EnrollmentResult{Decision: *e.status.Decision, Device: e.device}, nil
}

// continueAsNew hands the wait to a fresh history, before one that is asked for months fills this one.
func (e *enrollment) continueAsNew(ctx workflow.Context) error {
	return workflow.NewContinueAsNewError(ctx, runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{
		OrgID: e.status.OrgID, Name: e.status.Name, RestoreID: e.status.RestoreID, Since: e.status.Since,
		Timeline: e.status.Timeline,
	})
}
