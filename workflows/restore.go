package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// RestoreWorkflow is a restore's roll call: it opens the restore, puts every eligible device on the roll, waits until each
// has gone back to normal, has been resumed by a human, or has left, and closes with the tally. Cancelling it ends every
// wait and leaves the devices as they are; a newer restore that supersedes it does the same and takes them over.
func RestoreWorkflow(ctx workflow.Context, in runbook.RestoreInput) (runbook.RestoreStatus, error) {
	r, err := setUpRestore(ctx, in)
	if err != nil {
		return runbook.RestoreStatus{}, err
	}
	return r.run(ctx)
}

// restore is the state of one RestoreWorkflow.
type restore struct {
	in       runbook.RestoreInput
	progress runbook.RestoreProgress
	// tally is the database's, as last read, for the current details.
	tally  runbook.RestoreStatus
	inbox  restoreInbox
	opened activities.OpenRestoreResult
	// watchEvery is how often the inventory watch looks; 0 is never.
	watchEvery time.Duration
	// stop ends the roll call without ending the workflow, which has last words to say.
	stop workflow.CancelFunc
	log  log.Logger
}

func setUpRestore(ctx workflow.Context, in runbook.RestoreInput) (*restore, error) {
	if err := checkRestoreInput(ctx, in); err != nil {
		return nil, err
	}
	every, err := runbook.ParseWatchInterval(in.WatchInterval)
	if err != nil {
		return nil, asFailure(runbook.AsRefusal(err))
	}
	r := &restore{
		in: in, watchEvery: every,
		progress: runbook.RestoreProgress{RestoreID: in.RestoreID, State: runbook.RestoreRunning, Ended: map[runbook.Outcome]int{}},
		inbox:    openRestoreInbox(ctx),
		log:      log.With(workflow.GetLogger(ctx), "restore", in.RestoreID),
	}
	if err := workflow.SetQueryHandler(ctx, runbook.QueryTally, func() (runbook.RestoreProgress, error) { return r.progress, nil }); err != nil {
		return nil, fmt.Errorf("register query %s: %w", runbook.QueryTally, err)
	}
	r.enterPhase(ctx, runbook.PhaseOpening)
	return r, nil
}

// checkRestoreInput refuses an input that could not be found again: the workflow id must be the restore's.
func checkRestoreInput(ctx workflow.Context, in runbook.RestoreInput) error {
	refusal := runbook.AsRefusal(runbook.CheckRestoreID(in.RestoreID))
	if id, want := workflow.GetInfo(ctx).WorkflowExecution.ID, runbook.RestoreWorkflowID(in.RestoreID); refusal == nil && id != want {
		refusal = runbook.Refuse(runbook.CodeInvalidRequest, "the workflow id is %q but must be %q; start it with starter restore --id %s", id, want, in.RestoreID)
	}
	if refusal != nil {
		return asFailure(refusal)
	}
	return nil
}

// run is the story of a restore. Opening it cannot be cancelled: whether the database then holds an open restore would not
// be known, and nothing would close it.
func (r *restore) run(ctx workflow.Context) (runbook.RestoreStatus, error) {
	calling, stop := workflow.WithCancel(ctx)
	r.stop = stop
	r.listen(ctx)
	if err := r.open(ctx); err != nil {
		return runbook.RestoreStatus{}, err
	}
	r.watchTally(calling)
	err := r.callRoll(calling)
	stop()
	return r.close(ctx, err)
}

func (r *restore) open(ctx workflow.Context) error {
	if err := r.markSearchable(ctx); err != nil {
		return err
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	in := activities.OpenRestoreInput{ID: r.in.RestoreID, OrgID: r.in.OrgID, Supersede: r.in.Supersede, By: r.in.By}
	return asFailure(insist(ctx, "open the restore", acts.OpenRestore, in, &r.opened))
}

// markSearchable sets the restore's id as a search attribute where whoever started the workflow has not.
func (r *restore) markSearchable(ctx workflow.Context) error {
	if _, ok := workflow.GetTypedSearchAttributes(ctx).GetKeyword(attributeRestoreID); ok {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, attributeRestoreID.ValueSet(r.in.RestoreID))
}

// callRoll carries the restore from T1 to the end of the last wait. The error is a cancellation, or a refusal where
// another restore has taken over meanwhile.
func (r *restore) callRoll(ctx workflow.Context) error {
	for _, step := range []func(workflow.Context) error{
		r.endPredecessors, r.putOnRoll, r.annotateRequests, r.finishRoll, r.watchInventory, r.callDevices,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close says the restore's last words, which are its result.
func (r *restore) close(ctx workflow.Context, err error) (runbook.RestoreStatus, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	cancelled := temporal.IsCanceledError(err)
	if err != nil && !cancelled && runbook.AsRefusal(err) == nil {
		return runbook.RestoreStatus{}, err
	}
	r.readSignals(ctx) // who cancelled it and why may wait beside the cancellation
	in := activities.CloseRestoreInput{RestoreID: r.in.RestoreID, State: runbook.RestoreCompleted}
	if err != nil {
		in.State, in.By, in.Reason = runbook.RestoreCancelled, r.inbox.cancelledBy.By, r.inbox.cancelledBy.Reason
	}
	if refusal := runbook.AsRefusal(err); refusal != nil {
		in.Reason = refusal.Message
	}
	r.enterPhase(ctx, runbook.PhaseClosing)
	if err := insist(ctx, "close the restore", acts.CloseRestore, in, &r.tally); err != nil {
		return runbook.RestoreStatus{}, asFailure(err)
	}
	r.progress.State = r.tally.State
	r.enterPhase(ctx, runbook.PhaseEnded)
	r.readSignals(ctx)
	r.tellSuccessors(ctx)
	switch {
	case r.tally.State == runbook.RestoreCancelled && cancelled:
		return runbook.RestoreStatus{}, temporal.NewCanceledError()
	case r.tally.State == runbook.RestoreCancelled:
		return runbook.RestoreStatus{}, asFailure(err)
	}
	return r.tally, nil
}

// asFailure is an error as a workflow fails with it: a refusal keeps its code as the type.
func asFailure(err error) error {
	if refusal := runbook.AsRefusal(err); refusal != nil {
		return temporal.NewNonRetryableApplicationError(refusal.Message, string(refusal.Code), nil)
	}
	return err
}
