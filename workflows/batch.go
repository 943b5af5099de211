package workflows

import (
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// BatchWorkflow calls a part of a large restore's roll: it stands between the restore and its devices, so that neither
// a history nor the number of a workflow's children comes near its limit. It ends when all its devices have.
func BatchWorkflow(ctx workflow.Context, in runbook.BatchInput) (runbook.BatchResult, error) {
	if err := checkParent(ctx, in.RestoreID); err != nil {
		return runbook.BatchResult{}, err
	}
	r := deviceChildren{
		restoreID: in.RestoreID, batch: in.Number, size: in.Size, slice: in.Slice, takenUp: in.TakenUp,
		ended: map[runbook.Outcome]int{},
	}
	namespace, id := workflow.GetInfo(ctx).Namespace, workflow.GetInfo(ctx).WorkflowExecution.ID
	r.changed = func(ctx workflow.Context) {
		workflow.SetCurrentDetails(ctx, batchDetails(in, r.ended, namespace, id))
	}
	r.changed(ctx)
	r.scheduled = func(ctx workflow.Context) { tellParent(ctx, in.Number) }
	if err := r.run(ctx); err != nil {
		return runbook.BatchResult{}, err
	}
	return runbook.BatchResult{Ended: r.ended, Claimed: in.Size > 0}, nil
}

// checkParent refuses a batch that its restore has not started. It would ask the restore's own device workflows to end,
// because they hold the ids that it wants.
func checkParent(ctx workflow.Context, restoreID string) error {
	want := runbook.RestoreWorkflowID(restoreID)
	if parent := workflow.GetInfo(ctx).ParentWorkflowExecution; parent == nil || parent.ID != want {
		return asFailure(runbook.Refuse(runbook.CodeInvalidRequest,
			"batches are started by the workflow %q alone; use starter restore", want))
	}
	return nil
}

// tellParent lets the restore call the next batch.
func tellParent(ctx workflow.Context, number int) {
	if parent := workflow.GetInfo(ctx).ParentWorkflowExecution; parent != nil && startsLittleByLittle(ctx) {
		// Whichever run of the restore there is, should someone have reset it; one that has gone needs no answer.
		workflow.SignalExternalWorkflow(ctx, parent.ID, "", runbook.SignalBatchCalled,
			runbook.BatchCalledSignal{Number: number})
	}
}

// startsAtOnce is how many devices of one parent are started together. When a child has started, and again when it has
// ended, Temporal's server reads the event with which its start was asked for, and with it all others of the same
// workflow task: 500 in one task were measured to cost it twice the time of 25 (docs/performance.md). It is part of
// histories: another number is another version of changeStartLittleByLittle.
const startsAtOnce = 25

// deviceChildren keeps a DeviceWorkflow running for each device of a batch that waits according to the database.
type deviceChildren struct {
	restoreID string
	// batch is the number of the batch, and size how many devices it claims; 0 is a restore of an earlier release, whose
	// batches have a slice of the roll each.
	batch, size int
	slice       runbook.Slice
	// claimed is how many devices the batch has claimed, and wave the number of its next wave.
	claimed, wave int
	// takenUp reports whether the restore was taken up again, and listed whether the devices were listed before. In both
	// cases an earlier workflow of a device may have ended without an outcome.
	takenUp, listed bool
	// ended counts the devices whose workflow has ended, by outcome.
	ended map[runbook.Outcome]int
	// changed is called after the end of each workflow.
	changed func(workflow.Context)
	// scheduled is called when the start of every workflow was requested. It may be nil.
	scheduled func(workflow.Context)
}

// run returns when no device of the batch waits any more.
func (r *deviceChildren) run(ctx workflow.Context) error {
	c := children{list: r.list, atOnce: startsAtOnce, begun: hasStarted, scheduled: r.scheduled}
	if r.size > 0 {
		c.list, c.claim = r.listClaimed, r.claim
	}
	return c.run(ctx)
}

func hasStarted(_ child, f workflow.ChildWorkflowFuture) bool {
	return f.GetChildWorkflowExecution().IsReady()
}

func (r *deviceChildren) list(ctx workflow.Context) ([]child, error) {
	var open activities.OpenEntriesResult
	in := activities.OpenEntriesInput{RestoreID: r.restoreID, Slice: r.slice}
	if err := runBulk(ctx, "list who is waited for", acts.OpenEntries, in, &open); err != nil {
		return nil, err
	}
	return r.children(open.Entries, r.again()), nil
}

// again reports whether the devices of a list may have had a workflow before; the next list's may have.
func (r *deviceChildren) again() bool {
	again := r.takenUp || r.listed
	r.listed = true
	return again
}

// listClaimed lists what the batch has claimed. A batch that was interrupted, or whose restore was taken up again, goes
// on with what it had.
func (r *deviceChildren) listClaimed(ctx workflow.Context) ([]child, error) {
	var found activities.BatchResult
	in := activities.BatchInput{RestoreID: r.restoreID, Batch: r.batch}
	if err := runBulk(ctx, "list who is waited for", acts.BatchEntries, in, &found); err != nil {
		return nil, err
	}
	if r.wave == 0 {
		r.claimed, r.wave = found.Claimed, found.NextWave
	}
	return r.children(found.Entries, r.again()), nil
}

// claim claims the next wave of devices; more is false where the batch is full, no one is left, or its restore runs no
// more.
func (r *deviceChildren) claim(ctx workflow.Context) (claimed []child, more bool) {
	if r.claimed >= r.size {
		return nil, false
	}
	var wave activities.ClaimResult
	in := activities.ClaimInput{
		RestoreID: r.restoreID, Batch: r.batch, Wave: r.wave,
		Limit: min(startsAtOnce, r.size-r.claimed),
	}
	if err := runQuickly(ctx, fmt.Sprintf("claim wave %d", r.wave), acts.Claim, in, &wave); err != nil {
		workflow.GetLogger(ctx).Info("No more devices are claimed", "restore", r.restoreID, "batch", r.batch, "error", err)
		return nil, false
	}
	r.wave++
	r.claimed += len(wave.Entries)
	return r.children(wave.Entries, r.takenUp), len(wave.Entries) > 0 && r.claimed < r.size
}

func (r *deviceChildren) children(entries []activities.RollEntry, again bool) []child {
	wanted := make([]child, len(entries))
	for i, entry := range entries {
		wanted[i] = r.child(entry, again)
	}
	return wanted
}

func (r *deviceChildren) child(entry activities.RollEntry, again bool) child {
	return child{
		key: entry.Seq,
		id:  runbook.DeviceWorkflowID(entry.OrgID, entry.Name),
		start: func(ctx workflow.Context) workflow.ChildWorkflowFuture {
			options := deviceOptions(r.restoreID, entry)
			// Terminated with its parent: the run that takes the roll up again starts each device from the database, and
			// can only do so when the name is free.
			options.ParentClosePolicy = enumspb.PARENT_CLOSE_POLICY_TERMINATE
			return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), runbook.DeviceWorkflowName,
				deviceInput(r.restoreID, entry, again))
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

// deviceInput is the input of a device's workflow; again has it read what the audit tells of an earlier one.
func deviceInput(restoreID string, entry activities.RollEntry, again bool) runbook.DeviceInput {
	return runbook.DeviceInput{
		RestoreID: restoreID, OrgID: entry.OrgID, Name: entry.Name, Fleet: entry.Fleet,
		State: entry.State, Restored: entry.Restored, Reported: entry.Reported, Since: entry.Since,
		Noted: entry.Noted, Look: entry.Look, ReadStory: again, Mode: entry.Mode,
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

// batchDetails says how far the batch is, and links to the lists of its devices.
func batchDetails(in runbook.BatchInput, ended map[runbook.Outcome]int, namespace, workflowID string) string {
	all := max(in.Slice.To-in.Slice.From, int64(in.Size))
	var b strings.Builder
	fmt.Fprintf(&b, "**Batch %d of restore %s**: %d of its %d devices have left the roll call.\n\n",
		in.Number, in.RestoreID, endedTotal(ended), all)
	b.WriteString("Its devices:\n\n")
	for _, state := range runbook.States {
		query := fmt.Sprintf(`ParentWorkflowId="%s" AND %s="%s"`, workflowID, runbook.AttributeDeviceStatus, state)
		fmt.Fprintf(&b, "- %s\n", listLink(namespace, string(state), query))
	}
	b.WriteString("\n" + outcomeTable(ended))
	return b.String()
}
