package workflows

import (
	"cmp"
	"slices"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// restoreInbox is what a restore has been told.
type restoreInbox struct {
	*mailbox

	cancelledBy runbook.CancelSignal
	// cancelRequest is the request id of cancelledBy.
	cancelRequest string
	// checksCancel reports whether a cancellation is being checked.
	checksCancel bool
	successors   []string
	predecessors []string
	// lateEnded counts the late joiners that wait no more.
	lateEnded int
	// scheduled holds the batches that have requested the start of every workflow.
	scheduled map[int]bool
}

func openRestoreInbox(ctx workflow.Context) restoreInbox {
	return restoreInbox{
		mailbox: openMailbox(ctx, runbook.SignalCancel, runbook.SignalSuperseded, runbook.SignalPredecessorEnded,
			runbook.SignalLateJoinerEnded, runbook.SignalBatchCalled),
		scheduled: map[int]bool{},
	}
}

// hearPredecessor keeps which restore has ended its waits. What is no id of a restore is waited for by none.
func (i *restoreInbox) hearPredecessor(id string) {
	if runbook.CheckRestoreID(id) == nil && !slices.Contains(i.predecessors, id) {
		i.predecessors = append(i.predecessors, id)
	}
}

func (i *restoreInbox) haveEnded(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(i.predecessors, id) })
}

// listen reads signals for as long as the workflow runs.
func (r *restore) listen(ctx workflow.Context) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		for workflow.Await(ctx, func() bool { return !r.inbox.empty(ctx) }) == nil {
			r.readSignals(ctx)
		}
	})
}

// refuseSignal says in the details and in the query that a signal did nothing. Its sender has heard nothing else.
func (r *restore) refuseSignal(ctx workflow.Context, name string, refusal *runbook.Refusal) {
	r.progress.RefusedSignal = r.progress.RefusedSignal.Then(name, workflow.Now(ctx), refusal)
	r.log.Warn("Message refused", "message", runbook.Storable(name), "error", refusal)
	r.showDetails(ctx)
}

// readSignals reads all that is there. A cancellation or a successor ends the roll call. A signal that cannot be read
// is refused.
func (r *restore) readSignals(ctx workflow.Context) {
	for !r.inbox.empty(ctx) {
		if message, requestID, ok := readLetter[runbook.CancelSignal](ctx, r, runbook.SignalCancel); ok &&
			r.mayCancel(ctx, message, requestID) {
			r.inbox.cancelledBy, r.inbox.cancelRequest = message, requestID
			r.stopRollCall()
		}
		if message, ok := readSignal[runbook.SupersededSignal](ctx, r, runbook.SignalSuperseded); ok {
			r.hearSuccessor(ctx, message.ByRestoreID)
		}
		if message, ok := readSignal[runbook.PredecessorEndedSignal](ctx, r, runbook.SignalPredecessorEnded); ok {
			r.inbox.hearPredecessor(message.RestoreID)
		}
		if message, ok := readSignal[runbook.LateJoinerEndedSignal](ctx, r, runbook.SignalLateJoinerEnded); ok {
			r.countLateJoiner(ctx, message)
		}
		if message, ok := readSignal[runbook.BatchCalledSignal](ctx, r, runbook.SignalBatchCalled); ok {
			r.inbox.scheduled[message.Number] = true
		}
		if name, _, ok := r.inbox.nextUnknown(ctx); ok {
			r.refuseSignal(ctx, name, runbook.UnknownSignal(name, r.inbox.names))
		}
	}
}

// readSignal takes one signal off a channel; ok is false where there is none, or none that can be read.
func readSignal[T any](ctx workflow.Context, r *restore, name string) (message T, ok bool) {
	message, _, ok = readLetter[T](ctx, r, name)
	return message, ok
}

// readLetter is readSignal, with the request id of the signal.
func readLetter[T any](ctx workflow.Context, r *restore, name string) (message T, requestID string, ok bool) {
	l, ok := next[T](r.inbox.mailbox, name)
	if l.refusal != nil {
		r.refuseSignal(ctx, name, l.refusal)
		return l.message, "", false
	}
	return l.message, l.requestID, ok
}

// mayCancel reports whether a cancellation counts. One that refers to a decision is checked in the database, which also
// keeps the refusal; any other counts as asserted. No message of an earlier release refers to one.
func (r *restore) mayCancel(ctx workflow.Context, message runbook.CancelSignal, requestID string) bool {
	if message.Decision == "" {
		return true
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	r.inbox.checksCancel = true
	defer func() { r.inbox.checksCancel = false }()
	var result activities.ActResult
	err := runTransition(ctx, "check who cancels", acts.RecordAct, r.cancelled(message, requestID), &result)
	refusal := cmp.Or(runbook.AsRefusal(err), result.Refusal)
	switch {
	case refusal != nil:
		r.refuseSignal(ctx, runbook.SignalCancel, refusal)
	case err != nil:
		r.log.Warn("It is not known who cancels", "by", message.By, "error", err)
	}
	return refusal == nil && err == nil
}

func (r *restore) cancelled(message runbook.CancelSignal, requestID string) activities.ActInput {
	return activities.ActInput{
		Act: runbook.ActCancel, OrgID: r.in.OrgID, RestoreID: r.in.RestoreID, By: message.By, Reason: message.Reason,
		RequestID: requestID, Origin: message.Origin,
	}
}

// changeLateCancel marks the restores that refuse a cancellation which has come too late. In those of earlier releases
// the audit has one by a recorded decision as accepted.
const changeLateCancel = "late-cancel"

// refuseLateCancel writes to the audit that a cancellation has not cancelled the restore, which had ended otherwise.
func (r *restore) refuseLateCancel(ctx workflow.Context) {
	none := r.inbox.cancelRequest == "" && !r.inbox.checksCancel
	if none || r.tally.State == runbook.RestoreCancelled ||
		workflow.GetVersion(ctx, changeLateCancel, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	_ = workflow.Await(ctx, func() bool { return !r.inbox.checksCancel }) // the context is not cancelled
	if r.inbox.cancelRequest == "" {
		return
	}
	refusal := runbook.Refuse(runbook.CodeRestoreEnded, "restore %s has ended already (%s)", r.in.RestoreID, r.tally.State)
	r.refuseSignal(ctx, runbook.SignalCancel, refusal)
	in := r.cancelled(r.inbox.cancelledBy, r.inbox.cancelRequest+"/late")
	in.Refusal = refusal
	if err := runTransition(ctx, "a cancellation has come too late", acts.RecordAct, in, nil); err != nil {
		r.log.Warn("A late cancellation is not in the audit", "by", in.By, "error", err)
	}
}

// changeCheckSuccessor marks the restores that ask the database whether they were superseded.
const changeCheckSuccessor = "check-successor"

// hearSuccessor ends the roll call where the database knows that a newer restore has taken over. Anyone can send the
// signal, with any name. The restore that the database names hears once all waits have ended. A worker of an earlier
// release has not read that name; then the signal's counts.
func (r *restore) hearSuccessor(ctx workflow.Context, by string) {
	var found activities.RestoreStateResult
	if workflow.GetVersion(ctx, changeCheckSuccessor, workflow.DefaultVersion, 1) != workflow.DefaultVersion {
		steady, _ := workflow.NewDisconnectedContext(ctx)
		err := runTransition(steady, "has a newer restore taken over", acts.RestoreState,
			activities.RestoreRef{RestoreID: r.in.RestoreID}, &found)
		if err != nil || found.State != runbook.RestoreSuperseded {
			r.log.Warn("The database knows no restore that has taken over", "successor", runbook.Storable(by),
				"state", found.State, "error", err)
			r.refuseSignal(ctx, runbook.SignalSuperseded, runbook.Refuse(runbook.CodeInvalidRequest,
				"restore %s is not superseded by %s", r.in.RestoreID, runbook.Storable(by)))
			return
		}
	}
	if found.SupersededBy == "" || found.SupersededBy == by {
		r.inbox.successors = append(r.inbox.successors, by)
	} else {
		r.refuseSignal(ctx, runbook.SignalSuperseded, runbook.Refuse(runbook.CodeInvalidRequest,
			"restore %s is superseded by %s, and not by %s", r.in.RestoreID, found.SupersededBy, runbook.Storable(by)))
	}
	r.stopRollCall()
}

// stopRollCall ends the roll call. It is not started again.
func (r *restore) stopRollCall() {
	r.stopping = true
	r.stop()
}

// longestWorkflowID is how long an id is that Temporal takes. A task that signals a longer one fails each time.
const longestWorkflowID = 1000

// tellSuccessors answers the restores that superseded this one: its waits have ended. One that has itself gone needs no
// answer.
func (r *restore) tellSuccessors(ctx workflow.Context) {
	for _, id := range r.inbox.successors {
		if len(runbook.RestoreWorkflowID(id)) > longestWorkflowID {
			continue
		}
		err := workflow.SignalExternalWorkflow(ctx, runbook.RestoreWorkflowID(id), "", runbook.SignalPredecessorEnded,
			runbook.PredecessorEndedSignal{RestoreID: r.in.RestoreID}).Get(ctx, nil)
		if err != nil {
			r.log.Info("Successor is not there to be told", "successor", id, "error", err)
		}
	}
}
