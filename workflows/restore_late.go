package workflows

import (
	"math"
	"slices"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// startEnrollments starts a workflow for each enrollment request that the restore found and no one has decided about.
// The restore does not wait for them. Runs of a release before there were any go on without.
func (r *restore) startEnrollments(ctx workflow.Context) error {
	if workflow.GetVersion(ctx, runbook.ChangeEnrollment, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	r.enrolls = true
	return r.eachChunk(ctx, "start the workflows of pending enrollment requests", acts.StartEnrollments, func(int) {})
}

// awaitLateJoiners waits until it is worth trying again to close: a device that joined late waits no more, or there
// was no word for a while. Only the database can say whether that was the last one. The error is a cancellation.
func (r *restore) awaitLateJoiners(ctx workflow.Context) error {
	r.enterPhase(ctx, runbook.PhaseWaiting)
	r.latePause = nextPoll(r.latePause, false, workflow.GetInfo(ctx).GetCurrentHistoryLength())
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      r.latePause,
		TimerOptions: workflow.TimerOptions{Summary: "look again whether devices that joined late wait"},
	}, func() bool { return r.inbox.lateEnded > r.lateEndedSeen })
	return err
}

// countLateJoiner notes the end of a device that joined late. An outcome that there is not has the restore look again
// whether devices wait, and is not counted.
func (r *restore) countLateJoiner(ctx workflow.Context, message runbook.LateJoinerEndedSignal) {
	r.inbox.lateEnded++
	if slices.Contains(runbook.Outcomes, message.Outcome) {
		r.progress.Ended[message.Outcome]++
	}
	r.showDetails(ctx)
}

// releaseLateJoiners ends the waits of the devices that joined late and are not the restore's children, when the
// restore is cancelled; its children have ended with it. Those of a superseded restore are ended by the newer one that
// wants their names.
func (r *restore) releaseLateJoiners(ctx workflow.Context) {
	if !r.enrolls {
		return
	}
	var late activities.OpenEntriesResult
	in := activities.OpenEntriesInput{
		RestoreID: r.in.RestoreID, Slice: runbook.Slice{From: r.progress.Total, To: math.MaxInt64},
	}
	if err := runBulk(ctx, "list who joined late", acts.OpenEntries, in, &late); err != nil {
		r.log.Warn("Who joined late is not known; they wait until they are withdrawn", "error", err)
		return
	}
	for _, entry := range late.Entries {
		id := runbook.DeviceWorkflowID(entry.OrgID, entry.Name)
		if err := workflow.RequestCancelExternalWorkflow(ctx, id, "").Get(ctx, nil); err != nil {
			r.log.Info("Late joiner is not there to be told", "workflow", id, "error", err)
		}
	}
	r.cancelLeftovers(ctx)
}

// changeLeftovers marks the restores that cancel what is left of them by the search index too.
const changeLeftovers = "cancel-leftovers"

// cancelLeftovers ends the waits of devices that are not the restore's children, though the roll's first list has
// them: a restore that was taken up again counts earlier late joiners in its total.
func (r *restore) cancelLeftovers(ctx workflow.Context) {
	if workflow.GetVersion(ctx, changeLeftovers, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	err := runBulkWithHeartbeat(ctx, "cancel what is left of the restore", acts.CancelLeftovers,
		activities.RestoreRef{RestoreID: r.in.RestoreID}, nil)
	if err != nil {
		r.log.Warn("What is left of the restore could not be cancelled", "error", err)
	}
}
