package activities

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Workflows is what the inventory watch needs of a Temporal client to compare the database with the workflows.
type Workflows interface {
	ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any,
		args ...any) (client.WorkflowRun, error)
	GetWorkflow(ctx context.Context, workflowID, runID string) client.WorkflowRun
	CancelWorkflow(ctx context.Context, workflowID, runID string) error
	TerminateWorkflow(ctx context.Context, workflowID, runID, reason string, details ...any) error
	QueryWorkflow(ctx context.Context, workflowID, runID, queryType string, args ...any) (converter.EncodedValue, error)
	ListWorkflow(ctx context.Context,
		in *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
	CountWorkflow(ctx context.Context,
		in *workflowservice.CountWorkflowExecutionsRequest) (*workflowservice.CountWorkflowExecutionsResponse, error)
	DescribeWorkflowExecution(ctx context.Context, workflowID,
		runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
}

const (
	// reconcileEvery is how often the roll is compared with the workflows, or after every fifth poll where that is
	// sooner. Only what two comparisons in a row find is repaired, so that a device without a workflow has one within a
	// minute. In a large fleet comparisons are seldom; who is missed by a signal is started by startMissed.
	reconcileEvery = 20 * time.Second
	// reconcileShare bounds the cost of a large fleet: comparisons take at most 1/reconcileShare of the time.
	reconcileShare = 20
	// reconcilePage is how many workflows one request lists.
	reconcilePage = 1000
)

// reconciler compares the roll with the workflows that run, and repairs differences that a crash has left: a decision
// in the database that its workflow does not know, and a device on the roll without a workflow. It finds them in the
// search index, and confirms each with the workflow itself.
type reconciler struct {
	watch     *watch
	workflows Workflows
	// every is how often it compares at most.
	every time.Duration
	due   time.Time
	// suspects are the workflow ids that the last comparison found.
	suspects map[string]bool
}

// runIfDue compares when it is time to. A failure is logged, and the next comparison follows as usual.
func (m *reconciler) runIfDue(ctx context.Context) {
	began := time.Now()
	if m.workflows == nil || began.Before(m.due) {
		return
	}
	if err := m.compare(ctx); err != nil && ctx.Err() == nil {
		activity.GetLogger(ctx).Warn("Roll could not be compared with the workflows", "restore", m.watch.restoreID,
			"error", err)
	}
	m.due = time.Now().Add(max(m.every, reconcileShare*time.Since(began)))
}

// startMissed starts the workflows of the devices that the watch had a signal for, and found none, whatever the next
// comparison says. The roll and the restore say whether they ought to have one.
func (m *reconciler) startMissed(ctx context.Context) {
	missed := m.watch.missed
	if m.workflows == nil || len(missed) == 0 {
		return
	}
	progress, err := m.progress(ctx)
	if err != nil || progress.Called == nil || progress.Stopping {
		return // the restore does not answer, is of an early release, or ends the workflows of its devices
	}
	tried := attempts{of: "missing workflows"}
	for _, d := range missed {
		entry, err := m.watch.inventory.WaitingEntry(ctx, m.watch.restoreID, d.OrgID, d.Name)
		if err == nil && entry != nil && progress.HasCalled(entry.Seq, entry.Batch) {
			err = m.start(ctx, *entry)
		}
		tried.add(ctx, m.watch, d.Name, err)
		if ctx.Err() != nil || tried.failed >= tooManyFailures {
			break
		}
		m.watch.beat(ctx)
	}
	if err := tried.end(m.watch); err != nil {
		activity.GetLogger(ctx).Warn("Missing workflows could not be started", "restore", m.watch.restoreID, "error", err)
	}
}

func (m *reconciler) compare(ctx context.Context) error {
	if err := m.remakeRoll(ctx); err != nil {
		return err
	}
	progress, err := m.progress(ctx)
	if err != nil || progress.Called == nil { // a worker of an early release does not say
		return err
	}
	running, err := m.running(ctx)
	if err != nil {
		return err
	}
	open, err := m.watch.inventory.OpenEntries(ctx, m.watch.restoreID, runbook.Slice{To: math.MaxInt64})
	if err != nil {
		return err
	}
	before, tried := m.suspects, attempts{of: "comparison"}
	m.suspects = map[string]bool{}
	twice := func(id string) bool { m.suspects[id] = true; return before[id] }
	for _, entry := range open {
		id := runbook.DeviceWorkflowID(entry.OrgID, entry.Name)
		shown, there := running[id]
		delete(running, id)
		called := !progress.Stopping && progress.HasCalled(entry.Seq, entry.Batch)
		switch {
		case !there && called && twice(id):
			tried.add(ctx, m.watch, entry.Name, m.start(ctx, entry))
		case there && shown != string(entry.State) && twice(id):
			tried.add(ctx, m.watch, entry.Name, m.watch.look(ctx, id))
		}
		if ctx.Err() != nil || tried.failed >= tooManyFailures {
			return errors.Join(tried.last, ctx.Err())
		}
	}
	for id := range running { // their devices have left the roll call
		if twice(id) {
			tried.add(ctx, m.watch, id, m.watch.look(ctx, id))
		}
	}
	return tried.end(m.watch)
}

// remakeRoll makes the restore's roll again where the database has lost that it was made: it was put back to an earlier
// moment, and parts of the roll may be lost with that. The watch begins when the roll is made.
func (m *reconciler) remakeRoll(ctx context.Context) error {
	made, err := m.watch.inventory.RollIsMade(ctx, m.watch.restoreID)
	if err != nil || made {
		return err
	}
	activity.GetLogger(ctx).Warn("The database has lost the end of the roll; it is made again", "restore",
		m.watch.restoreID)
	_, err = m.watch.inventory.FinishRoll(ctx, m.watch.restoreID)
	if runbook.AsRefusal(err) != nil {
		return nil // the restore has ended
	}
	return err
}

// progress asks the restore which of its devices it has called: a workflow that is yet to be started is not missing.
func (m *reconciler) progress(ctx context.Context) (p runbook.RestoreProgress, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	value, err := m.workflows.QueryWorkflow(ctx, runbook.RestoreWorkflowID(m.watch.restoreID), "", runbook.QueryTally)
	if err == nil {
		err = value.Get(&p)
	}
	return p, err
}

// running lists the device workflows of the restore that run, with the state that each shows.
func (m *reconciler) running(ctx context.Context) (map[string]string, error) {
	shown := map[string]string{}
	query := fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'",
		runbook.DeviceWorkflowName, runbook.AttributeRestoreID, m.watch.restoreID)
	err := eachPage(ctx, m.workflows, query, func(page []*workflow.WorkflowExecutionInfo) error {
		for _, e := range page {
			var state string
			if payload := e.GetSearchAttributes().GetIndexedFields()[runbook.AttributeDeviceStatus]; payload != nil {
				if err := converter.GetDefaultDataConverter().FromPayload(payload, &state); err != nil {
					return fmt.Errorf("read the state of %s: %w", e.GetExecution().GetWorkflowId(), err)
				}
			}
			shown[e.GetExecution().GetWorkflowId()] = state
		}
		m.watch.beat(ctx)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// eachPage calls do with each page of the executions that a query of the search index finds.
func eachPage(
	ctx context.Context, workflows Workflows, query string, do func([]*workflow.WorkflowExecutionInfo) error,
) error {
	in := &workflowservice.ListWorkflowExecutionsRequest{PageSize: reconcilePage, Query: query}
	for {
		page, err := workflows.ListWorkflow(ctx, in)
		if err != nil {
			return err
		}
		if err := do(page.GetExecutions()); err != nil {
			return err
		}
		if in.NextPageToken = page.GetNextPageToken(); len(in.NextPageToken) == 0 {
			return nil
		}
	}
}

// start starts the workflow of a device that is waited for, unless it runs after all.
func (m *reconciler) start(ctx context.Context, entry inventory.RollEntry) error {
	id := runbook.DeviceWorkflowID(entry.OrgID, entry.Name)
	last, err := m.workflows.DescribeWorkflowExecution(ctx, id, "")
	switch {
	case isNotFound(err):
	case err != nil:
		return fmt.Errorf("describe %s: %w", id, err)
	case last.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		if ended, err := m.endStuck(ctx, id, last); err != nil || !ended {
			return err
		}
	}
	activity.GetLogger(ctx).Warn("Device on the roll has no workflow and gets one", "restore", m.watch.restoreID,
		"device", entry.Name)
	return StartDevice(ctx, m.workflows, activity.GetInfo(ctx).TaskQueue, m.watch.restoreID,
		"started again by the inventory watch", entry)
}

// stuckAttempt is the attempt of a workflow task from which on its workflow counts as stuck.
const stuckAttempt = 3

// endStuck terminates a workflow that holds a device's id for an older restore and cannot end by itself, because its
// task fails each time. Nothing is lost: the database has the device's state, and nothing of that restore may act.
func (m *reconciler) endStuck(
	ctx context.Context, id string, last *workflowservice.DescribeWorkflowExecutionResponse,
) (bool, error) {
	if last.GetPendingWorkflowTask().GetAttempt() < stuckAttempt {
		return false, nil
	}
	of, err := restoreOf(last.GetWorkflowExecutionInfo())
	if err != nil {
		return false, err
	}
	state, err := m.watch.inventory.RestoreStateOf(ctx, of)
	if refusal := runbook.AsRefusal(err); err != nil && (refusal == nil || refusal.Code != runbook.CodeNotFound) {
		return false, err
	}
	if of == m.watch.restoreID || state == runbook.RestoreRunning {
		return false, nil
	}
	run := last.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	err = m.workflows.TerminateWorkflow(ctx, id, run, "it cannot end by itself, and restore "+m.watch.restoreID+
		" needs its id")
	if err != nil {
		return false, fmt.Errorf("terminate %s: %w", id, err)
	}
	return true, nil
}

// restoreOf is the restore that a workflow shows in the search index; empty where it shows none.
func restoreOf(info *workflow.WorkflowExecutionInfo) (restoreID string, err error) {
	payload := info.GetSearchAttributes().GetIndexedFields()[runbook.AttributeRestoreID]
	if payload == nil {
		return "", nil
	}
	if err := converter.GetDefaultDataConverter().FromPayload(payload, &restoreID); err != nil {
		return "", fmt.Errorf("read the restore of %s: %w", info.GetExecution().GetWorkflowId(), err)
	}
	return restoreID, nil
}
