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

// RestoreWorkflow is a restore's roll call: it opens the restore, puts every eligible device on the roll, waits until
// each has gone back to normal, has been resumed by a human, or has left, and closes with the tally. Cancelling it
// ends every wait and leaves the devices as they are; a newer restore that supersedes it does the same and takes them
// over.
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
	// batches are the parts of the roll that are called, each by a workflow of its own where there are several;
	// batchEnded are those all of whose devices have ended. claims reports whether a batch claims as many devices as its
	// part has; batches of earlier releases have these devices and no others.
	batches    []runbook.Slice
	batchEnded []bool
	claims     bool
	// watchEvery is how often the inventory watch looks; 0 is never.
	watchEvery time.Duration
	// stop ends the roll call without ending the workflow, which has last words to say; stopping tells that it has been
	// told to.
	stop     workflow.CancelFunc
	stopping bool
	// enrolls tells that this run started the workflows of pending enrollment requests, as one of an older release did
	// not.
	enrolls bool
	// awaitsLate tells that devices joined late and are waited for, on a roll that may have been empty.
	awaitsLate bool
	// latePause is how long it waited last for a device that joined late.
	latePause time.Duration
	// lateEndedSeen is how many late joiners had ended when the restore last tried to close.
	lateEndedSeen int
	log           log.Logger
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
		progress: runbook.RestoreProgress{
			RestoreID: in.RestoreID, State: runbook.RestoreRunning,
			Ended: map[runbook.Outcome]int{},
		},
		inbox: openRestoreInbox(ctx),
		log:   log.With(workflow.GetLogger(ctx), "restore", in.RestoreID),
	}
	answer := func() (runbook.RestoreProgress, error) { return r.answerTally(ctx) }
	if err := workflow.SetQueryHandler(ctx, runbook.QueryTally, answer); err != nil {
		return nil, fmt.Errorf("register query %s: %w", runbook.QueryTally, err)
	}
	r.enterPhase(ctx, runbook.PhaseOpening)
	return r, nil
}

// answerTally answers the query. A cancellation of the workflow itself stops the roll call as well.
func (r *restore) answerTally(ctx workflow.Context) (runbook.RestoreProgress, error) {
	progress, called := r.progress, r.scheduled()
	progress.Called, progress.Claims = &called, r.claims
	progress.Stopping = r.stopping || ctx.Err() != nil
	if r.claims {
		progress.CalledBatches = r.calledBatches()
	}
	return progress, nil
}

// hasCalled reports whether a batch has requested the start of every workflow.
func (r *restore) hasCalled(batch int) bool { return r.inbox.scheduled[batch] || r.batchEnded[batch] }

// calledBatches returns the batches that have; it is never nil.
func (r *restore) calledBatches() []int {
	called := []int{}
	for n := range r.batches {
		if r.hasCalled(n) {
			called = append(called, n)
		}
	}
	return called
}

// scheduled returns for how many devices the start of a workflow was requested. Where batches have slices, these are
// the first of the roll.
func (r *restore) scheduled() (devices int64) {
	for n, slice := range r.batches {
		if r.hasCalled(n) {
			devices += slice.To - slice.From
		} else if !r.claims {
			break
		}
	}
	return devices
}

// checkRestoreInput refuses an input that could not be found again: the workflow id must be the restore's.
func checkRestoreInput(ctx workflow.Context, in runbook.RestoreInput) error {
	refusal := runbook.AsRefusal(runbook.CheckRestoreID(in.RestoreID))
	if id, want := workflow.GetInfo(ctx).WorkflowExecution.ID, runbook.RestoreWorkflowID(in.RestoreID); refusal == nil &&
		id != want {
		refusal = runbook.Refuse(runbook.CodeInvalidRequest,
			"the workflow id is %q but must be %q; start it with starter restore --id %s", id, want, in.RestoreID)
	}
	if refusal != nil {
		return asFailure(refusal)
	}
	return nil
}

// run is the story of a restore. Opening it cannot be cancelled: whether the database then holds an open restore would
// not be known, and nothing would close it.
func (r *restore) run(ctx workflow.Context) (runbook.RestoreStatus, error) {
	r.stop = func() {} // until the roll call begins, stopRollCall is only remembered
	r.listen(ctx)
	if err := r.open(ctx); err != nil {
		return runbook.RestoreStatus{}, err
	}
	err := r.during(ctx, r.callRoll)
	for {
		status, closing := r.close(ctx, err)
		if refusal := runbook.AsRefusal(closing); refusal == nil || refusal.Code != runbook.CodeDevicesWaiting {
			return status, closing
		}
		err = r.during(ctx, r.callLateJoiners)
	}
}

// during carries out a part of the roll call that a cancellation or a successor may stop.
func (r *restore) during(ctx workflow.Context, part func(workflow.Context) error) error {
	calling, stop := workflow.WithCancel(ctx)
	defer stop()
	r.stop = stop
	if r.stopping {
		stop()
	}
	r.watchTally(calling)
	return part(calling)
}

func (r *restore) open(ctx workflow.Context) error {
	if err := r.markSearchable(ctx); err != nil {
		return err
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	in := activities.OpenRestoreInput{
		ID: r.in.RestoreID, OrgID: r.in.OrgID, Supersede: r.in.Supersede, By: r.in.By,
		As: r.in.As, All: r.in.All,
	}
	return asFailure(runBulkWithHeartbeat(ctx, "open the restore", acts.OpenRestore, in, &r.opened))
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
		r.endPredecessors, r.putOnRoll, r.annotateRequests, r.finishRoll, r.watchInventory, r.startEnrollments, r.runDevices,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// callLateJoiners goes on with what the waiting devices need once those of the roll's first list have ended.
func (r *restore) callLateJoiners(ctx workflow.Context) error {
	r.awaitsLate = true
	if err := r.watchInventory(ctx); err != nil {
		return err
	}
	return r.awaitLateJoiners(ctx)
}

// close says the restore's last words, which are its result. A refusal with CodeDevicesWaiting is none: a device has
// joined late, and the restore goes on.
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
		in.Origin, in.RequestID = r.inbox.cancelledBy.Origin, r.inbox.cancelRequest
	}
	if refusal := runbook.AsRefusal(err); refusal != nil {
		in.Reason = refusal.Message
	}
	r.lateEndedSeen = r.inbox.lateEnded
	r.enterPhase(ctx, runbook.PhaseClosing)
	if err := runBulk(ctx, "close the restore", acts.CloseRestore, in, &r.tally); err != nil {
		if refusal := runbook.AsRefusal(err); refusal != nil && refusal.Code == runbook.CodeDevicesWaiting {
			return runbook.RestoreStatus{}, refusal
		}
		return runbook.RestoreStatus{}, asFailure(err)
	}
	if r.tally.State == runbook.RestoreCancelled {
		r.releaseLateJoiners(ctx)
	}
	r.progress.State, r.progress.Total = r.tally.State, r.tally.Total
	r.enterPhase(ctx, runbook.PhaseEnded)
	r.readSignals(ctx)
	r.refuseLateCancel(ctx)
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
