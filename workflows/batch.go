package workflows

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// BatchWorkflow calls one slice of a large restore's roll: it stands between the restore and its devices, so that neither
// a history nor the number of a workflow's children comes near its limit. It ends when all its devices have.
func BatchWorkflow(ctx workflow.Context, in runbook.BatchInput) (runbook.BatchResult, error) {
	r := roster{restoreID: in.RestoreID, slice: in.Slice, ended: map[runbook.Outcome]int{}}
	r.changed = func(ctx workflow.Context) { workflow.SetCurrentDetails(ctx, batchDetails(in, r.ended)) }
	r.changed(ctx)
	r.called = func(ctx workflow.Context) { tellParent(ctx, in.Number) }
	if err := r.call(ctx); err != nil {
		return runbook.BatchResult{}, err
	}
	return runbook.BatchResult{Ended: r.ended}, nil
}

// tellParent lets the restore call the next batch.
func tellParent(ctx workflow.Context, number int) {
	if parent := workflow.GetInfo(ctx).ParentWorkflowExecution; parent != nil && startsLittleByLittle(ctx) {
		// Whichever run of the restore there is, should somebody have reset it; one that has gone needs no answer.
		workflow.SignalExternalWorkflow(ctx, parent.ID, "", runbook.SignalBatchCalled, runbook.BatchCalledSignal{Number: number})
	}
}

// startsAtOnce is how many devices of one parent are started together. When a child has started, and again when it has
// ended, Temporal's server reads the event with which its start was asked for, and with it all others of the same workflow
// task: 500 in one task were measured to cost it twice the time of 25 (docs/performance.md). It is part
// of histories: another number is another version of changeStartLittleByLittle.
const startsAtOnce = 25

// roster keeps a DeviceWorkflow running for each device of a slice that the database says is still waited for.
type roster struct {
	restoreID string
	slice     runbook.Slice
	// ended counts the devices whose workflow has ended, by outcome.
	ended map[runbook.Outcome]int
	// changed is called after each one's end.
	changed func(workflow.Context)
	// called is called when the workflow of each device has been asked for; nil is nobody to be told.
	called func(workflow.Context)
}

// call calls the slice's roll and returns when nobody on it is waited for.
func (r *roster) call(ctx workflow.Context) error {
	c := children{list: r.list, atOnce: startsAtOnce, begun: hasStarted, called: r.called}
	return c.run(ctx)
}

func hasStarted(_ child, f workflow.ChildWorkflowFuture) bool {
	return f.GetChildWorkflowExecution().IsReady()
}

func (r *roster) list(ctx workflow.Context) ([]child, error) {
	var open activities.OpenEntriesResult
	in := activities.OpenEntriesInput{RestoreID: r.restoreID, Slice: r.slice}
	if err := insist(ctx, "list who is waited for", acts.OpenEntries, in, &open); err != nil {
		return nil, err
	}
	wanted := make([]child, len(open.Entries))
	for i, entry := range open.Entries {
		wanted[i] = r.child(entry)
	}
	return wanted, nil
}

func (r *roster) child(entry activities.RollEntry) child {
	return child{
		key: entry.Seq,
		id:  runbook.DeviceWorkflowID(entry.OrgID, entry.Name),
		start: func(ctx workflow.Context) workflow.ChildWorkflowFuture {
			options := deviceOptions(r.restoreID, entry)
			// Terminated with its parent: the run that takes the roll up again starts each device from the database, and can only
			// do so when the name is free.
			options.ParentClosePolicy = enumspb.PARENT_CLOSE_POLICY_TERMINATE
			return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), runbook.DeviceWorkflowName, deviceInput(r.restoreID, entry))
		},
		ended: func(ctx workflow.Context, f workflow.Future) error {
			var result runbook.DeviceResult
			if err := f.Get(ctx, &result); err != nil {
				return err
			}
			r.ended[result.Outcome]++
			r.changed(ctx)
			return nil
		},
	}
}

func deviceInput(restoreID string, entry activities.RollEntry) runbook.DeviceInput {
	return runbook.DeviceInput{
		RestoreID: restoreID, OrgID: entry.OrgID, Name: entry.Name, Fleet: entry.Fleet,
		State: entry.State, Restored: entry.Restored, Reported: entry.Reported, Since: entry.Since,
	}
}

// deviceOptions are what every parent of a DeviceWorkflow asks for; each chooses its own parent close policy.
func deviceOptions(restoreID string, entry activities.RollEntry) workflow.ChildWorkflowOptions {
	return workflow.ChildWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(entry.OrgID, entry.Name),
		// A parent that is cancelled hears each child's last words before it closes.
		WaitForCancellation:   true,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			attributeDeviceStatus.ValueSet(string(entry.State)),
			attributeDeviceName.ValueSet(entry.Name),
			attributeFleet.ValueSet(entry.Fleet),
			attributeRestoreID.ValueSet(restoreID),
		),
		StaticSummary: deviceSummary(entry),
	}
}

func deviceSummary(entry activities.RollEntry) string {
	owner := "without a fleet"
	if entry.Fleet != "" {
		owner = "of fleet " + entry.Fleet
	}
	return fmt.Sprintf("%s %s, restored at version %s", entry.Name, owner, orNone(entry.Restored))
}

func batchDetails(in runbook.BatchInput, ended map[runbook.Outcome]int) string {
	all := in.Slice.To - in.Slice.From
	return fmt.Sprintf("**Batch %d of restore %s**: %d of its %d devices have left the roll call.\n\n%s",
		in.Number, in.RestoreID, endedTotal(ended), all, outcomeTable(ended))
}
