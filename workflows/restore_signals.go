package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// restoreInbox is what a restore has been told.
type restoreInbox struct {
	cancel, superseded, predecessorEnded, lateJoinerEnded, batchCalled workflow.ReceiveChannel

	cancelledBy  runbook.CancelSignal
	successors   []string
	predecessors []string
	// lateEnded counts the late joiners that wait no more.
	lateEnded int
	// called are the batches that have asked for each of their devices.
	called map[int]bool
}

func openRestoreInbox(ctx workflow.Context) restoreInbox {
	return restoreInbox{
		cancel:           workflow.GetSignalChannel(ctx, runbook.SignalCancel),
		superseded:       workflow.GetSignalChannel(ctx, runbook.SignalSuperseded),
		predecessorEnded: workflow.GetSignalChannel(ctx, runbook.SignalPredecessorEnded),
		lateJoinerEnded:  workflow.GetSignalChannel(ctx, runbook.SignalLateJoinerEnded),
		batchCalled:      workflow.GetSignalChannel(ctx, runbook.SignalBatchCalled),
		called:           map[int]bool{},
	}
}

func (i *restoreInbox) empty() bool {
	return i.cancel.Len()+i.superseded.Len()+i.predecessorEnded.Len()+i.lateJoinerEnded.Len()+i.batchCalled.Len() == 0
}

func (i *restoreInbox) haveEnded(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(i.predecessors, id) })
}

// listen reads signals for as long as the workflow runs.
func (r *restore) listen(ctx workflow.Context) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		for workflow.Await(ctx, func() bool { return !r.inbox.empty() }) == nil {
			r.readSignals(ctx)
		}
	})
}

// readSignals reads all that is there. A cancellation or a successor ends the roll call; a signal that cannot be read does
// nothing but say so in the log.
func (r *restore) readSignals(ctx workflow.Context) {
	for !r.inbox.empty() {
		if message, ok := readSignal[runbook.CancelSignal](r, r.inbox.cancel, runbook.SignalCancel); ok {
			r.inbox.cancelledBy = message
			r.halt()
		}
		if message, ok := readSignal[runbook.SupersededSignal](r, r.inbox.superseded, runbook.SignalSuperseded); ok {
			r.inbox.successors = append(r.inbox.successors, message.ByRestoreID)
			r.halt()
		}
		if message, ok := readSignal[runbook.PredecessorEndedSignal](r, r.inbox.predecessorEnded, runbook.SignalPredecessorEnded); ok {
			r.inbox.predecessors = append(r.inbox.predecessors, message.RestoreID)
		}
		if message, ok := readSignal[runbook.LateJoinerEndedSignal](r, r.inbox.lateJoinerEnded, runbook.SignalLateJoinerEnded); ok {
			r.countLateJoiner(ctx, message)
		}
		if message, ok := readSignal[runbook.BatchCalledSignal](r, r.inbox.batchCalled, runbook.SignalBatchCalled); ok {
			r.inbox.called[message.Number] = true
		}
	}
}

// readSignal takes one signal off a channel; ok is false where there is none, or none that can be read.
func readSignal[T any](r *restore, ch workflow.ReceiveChannel, name string) (message T, ok bool) {
	message, refusal, ok := next[T](ch, name)
	if refusal != nil {
		r.log.Warn("Message refused", "message", name, "error", refusal)
		return message, false
	}
	return message, ok
}

// halt ends the roll call for good.
func (r *restore) halt() {
	r.stopping = true
	r.stop()
}

// tellSuccessors answers the restores that superseded this one: its waits have ended. One that has itself gone needs no
// answer.
func (r *restore) tellSuccessors(ctx workflow.Context) {
	for _, id := range r.inbox.successors {
		err := workflow.SignalExternalWorkflow(ctx, runbook.RestoreWorkflowID(id), "", runbook.SignalPredecessorEnded,
			runbook.PredecessorEndedSignal{RestoreID: r.in.RestoreID}).Get(ctx, nil)
		if err != nil {
			r.log.Info("Successor is not there to be told", "successor", id, "error", err)
		}
	}
}
