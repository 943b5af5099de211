package workflows

import (
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// endPredecessors tells the restores that this one has superseded to end their waits, and waits a while for their word
// that they have: a device's workflow can only be started when the one before it has gone. Nothing hangs on the answer,
// since the database lets none of them act any more.
func (r *restore) endPredecessors(ctx workflow.Context) error {
	if r.opened.TakenUp {
		// A write of the run before may still be under way; the roll that is read after this is what it left.
		if err := workflow.Sleep(ctx, 2*transitionDeadline); err != nil {
			return err
		}
	}
	var waiting []string
	for _, id := range r.opened.Superseded {
		err := workflow.SignalExternalWorkflow(ctx, runbook.RestoreWorkflowID(id), "", runbook.SignalSuperseded,
			runbook.SupersededSignal{ByRestoreID: r.in.RestoreID}).Get(ctx, nil)
		if err == nil {
			waiting = append(waiting, id)
		}
	}
	if len(waiting) == 0 {
		return ctx.Err()
	}
	r.enterPhase(ctx, runbook.PhaseTakeOver)
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      predecessorTimeout,
		TimerOptions: workflow.TimerOptions{Summary: "do not wait longer for the superseded restore"},
	}, func() bool { return r.inbox.haveEnded(waiting) })
	return err
}

// putOnRoll is T1 for the whole fleet, one transaction after the other.
func (r *restore) putOnRoll(ctx workflow.Context) error {
	r.enterPhase(ctx, runbook.PhaseRoll)
	return r.eachChunk(ctx, "put devices on the roll", acts.PutOnRoll, func(put int) { r.progress.Total += int64(put) })
}

// annotateRequests marks the enrollment requests that were not approved when the backup was taken.
func (r *restore) annotateRequests(ctx workflow.Context) error {
	return r.eachChunk(ctx, "annotate enrollment requests", acts.AnnotateRequests, func(int) {})
}

func (r *restore) eachChunk(ctx workflow.Context, what string, activity any, count func(int)) error {
	in := activities.RollInput{RestoreID: r.in.RestoreID}
	for n := 1; ; n++ {
		var chunk activities.RollResult
		if err := runBulkWithHeartbeat(ctx, fmt.Sprintf("%s, part %d", what, n), activity, in, &chunk); err != nil {
			return err
		}
		count(chunk.Put)
		if chunk.Done {
			return nil
		}
		in = chunk.Next(in)
	}
}

// finishRoll closes the list and records SystemRestored.
func (r *restore) finishRoll(ctx workflow.Context) error {
	var finished activities.FinishRollResult
	err := runBulkWithHeartbeat(ctx, "record SystemRestored", acts.FinishRoll,
		activities.RestoreRef{RestoreID: r.in.RestoreID}, &finished)
	r.progress.Total = finished.Total
	return err
}

// runDevices runs the workflow of every device: as its own children where they fit one parent, else through batches.
func (r *restore) runDevices(ctx workflow.Context) error {
	slices, err := runbook.PlanBatches(r.progress.Total, r.in.BatchSize)
	if err != nil {
		return err
	}
	if err := r.beginWaves(ctx, len(slices)); err != nil {
		return err
	}
	r.batches, r.batchEnded = slices, make([]bool, len(slices))
	r.enterPhase(ctx, runbook.PhaseWaiting)
	switch len(slices) {
	case 0:
		return nil
	case 1:
		direct := deviceChildren{
			restoreID: r.in.RestoreID, size: r.sizeOf(slices[0]), slice: slices[0], takenUp: r.opened.TakenUp,
			ended: r.progress.Ended, changed: r.showDetails,
			scheduled: func(workflow.Context) { r.inbox.scheduled[0] = true },
		}
		err := direct.run(ctx)
		r.batchEnded[0] = err == nil
		return err
	}
	c := children{
		list: func(workflow.Context) ([]child, error) {
			var wanted []child
			for n := range slices {
				if !r.batchEnded[n] {
					wanted = append(wanted, r.batch(n, slices[n]))
				}
			}
			return wanted, nil
		}, atOnce: r.batchesAtOnce(ctx), startTimeout: batchStartTimeout,
		begun: func(batch child, _ workflow.ChildWorkflowFuture) bool { return r.inbox.scheduled[int(batch.key)] },
	}
	return c.run(ctx)
}

// changeClaim marks the restores whose batches claim their devices, those first that are there; those of earlier
// releases divide the roll into slices before anyone is called.
const changeClaim = "claim-devices"

// beginWaves has the batches claim devices from now on. A restore whose devices a worker of an earlier release has
// begun to call keeps its slices.
func (r *restore) beginWaves(ctx workflow.Context, batches int) error {
	if batches == 0 || workflow.GetVersion(ctx, changeClaim, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	r.claims = true
	in := activities.BeginWavesInput{RestoreID: r.in.RestoreID, Batches: batches}
	return runBulk(ctx, "begin the waves", acts.BeginWaves, in, nil)
}

// sizeOf is how many devices a batch claims for its part of the roll; 0 is none, as it has a slice.
func (r *restore) sizeOf(part runbook.Slice) int {
	if !r.claims {
		return 0
	}
	return int(part.To - part.From)
}

// changeBatchesAtOnce marks the restores that have as many batches call their devices at a time as their input says;
// those whose first batches a worker of an earlier release has started go on with its four.
const changeBatchesAtOnce = "batches-at-once"

func (r *restore) batchesAtOnce(ctx workflow.Context) int {
	if workflow.GetVersion(ctx, changeBatchesAtOnce, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return 4
	}
	return runbook.BatchesAtOnce(r.in.BatchesAtOnce)
}

// batchStartTimeout bounds how long the next batches wait. A batch that a worker without changeStartLittleByLittle has
// started sends no batch-called signal.
const batchStartTimeout = 10 * time.Minute

func (r *restore) batch(n int, slice runbook.Slice) child {
	id := runbook.BatchWorkflowID(r.in.RestoreID, n)
	in := runbook.BatchInput{RestoreID: r.in.RestoreID, Number: n, Size: r.sizeOf(slice), TakenUp: r.opened.TakenUp}
	summary := fmt.Sprintf("up to %d devices of restore %s", in.Size, r.in.RestoreID)
	if !r.claims {
		in.Slice, summary = slice, fmt.Sprintf("devices %d to %d of restore %s", slice.From+1, slice.To, r.in.RestoreID)
	}
	return child{
		key: int64(n),
		id:  id,
		start: func(ctx workflow.Context) workflow.ChildWorkflowFuture {
			ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
				WorkflowID: id,
				// As for its devices: what takes the roll up again must find the names free.
				ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_TERMINATE,
				WaitForCancellation:   true,
				TypedSearchAttributes: temporal.NewSearchAttributes(attributeRestoreID.ValueSet(r.in.RestoreID)),
				StaticSummary:         summary,
			})
			return workflow.ExecuteChildWorkflow(ctx, runbook.BatchWorkflowName, in)
		},
		ended: func(ctx workflow.Context, f workflow.Future) error {
			var result runbook.BatchResult
			if err := f.Get(ctx, &result); err != nil {
				return err
			}
			if r.claims && !result.Claimed {
				return fmt.Errorf("batch %d was carried out by a worker of an earlier release, which claims no devices", n)
			}
			r.batchEnded[n] = true
			for _, outcome := range runbook.Outcomes {
				r.progress.Ended[outcome] += result.Ended[outcome]
			}
			r.showDetails(ctx)
			return nil
		},
	}
}
