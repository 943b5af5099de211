package invariants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// waitingRow is a device that a running restore waits for.
type waitingRow struct {
	deviceRow
	Seq     int64         `db:"seq"`
	State   runbook.State `db:"state"`
	Claimed bool          `db:"claimed"`
}

const selectWaiting = `
select r.restore_id, r.org_id, r.name, r.seq, r.state, r.batch is not null as claimed
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id and s.state = 'Running'
where r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded
order by r.restore_id, r.seq`

const selectRunning = `
select id, coalesce(cast(org_id as text), '') as org_id from rollcall.restores where state = 'Running'
order by started_at, id`

// runningRestore is a restore that is open; an empty OrgID is all organisations.
type runningRestore struct {
	ID    string `db:"id"`
	OrgID string `db:"org_id"`
}

// indexed is a running device workflow as the search index shows it.
type indexed struct {
	restoreID string
	state     runbook.State
}

// Workflows compares the database with Temporal: who should run, who does, and in which state. The search index finds
// the workflows; what it says amiss is asked of the workflow itself before it counts. A device whose turn in the roll
// has not come needs no workflow yet.
func (c Checker) Workflows(ctx context.Context) ([]Violation, error) {
	// The index is read first: what starts in between is in both, and what ends is asked again.
	running, err := c.runningDevices(ctx)
	if err != nil {
		return nil, err
	}
	devices := maps.Clone(running)
	var restores []runningRestore
	if err := c.DB.SelectContext(ctx, &restores, selectRunning); err != nil {
		return nil, fmt.Errorf("read the restores that run: %w", err)
	}
	progress, found, err := c.progressOf(ctx, restores)
	if err != nil {
		return nil, err
	}
	var waiting []waitingRow
	if err := c.DB.SelectContext(ctx, &waiting, selectWaiting); err != nil {
		return nil, fmt.Errorf("read who waits: %w", err)
	}
	for _, w := range waiting {
		if p, runs := progress[w.RestoreID]; runs && !p.HasCalled(w.Seq, w.Claimed) {
			continue
		}
		id := runbook.DeviceWorkflowID(w.OrgID, w.Name)
		shown, ok := running[id]
		delete(running, id)
		some, err := c.checkWaiting(ctx, w, id, shown, ok)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	unknown, err := c.checkUnknown(ctx)
	if err != nil {
		return nil, err
	}
	rest, err := c.checkUnwanted(ctx, running, waiting, unknown)
	if err != nil {
		return nil, err
	}
	reports, err := c.checkReports(ctx)
	if err != nil {
		return nil, err
	}
	late, err := c.checkEnrollments(ctx, devices)
	if err != nil {
		return nil, err
	}
	plans, err := c.checkPlans(ctx)
	for _, id := range slices.Sorted(maps.Keys(unknown)) {
		found = append(found, unknown[id])
	}
	return slices.Concat(found, rest, reports, late, plans), err
}

// checkUnknown looks for restores that run, and that the database does not know. It returns the violations by restore.
func (c Checker) checkUnknown(ctx context.Context) (map[string]Violation, error) {
	found := map[string]Violation{}
	err := c.eachRunning(ctx, runbook.RestoreWorkflowName, func(w *workflow.WorkflowExecutionInfo) error {
		workflowID := w.GetExecution().GetWorkflowId()
		id, ok := runbook.ParseRestoreWorkflowID(workflowID)
		if !ok {
			return nil
		}
		var known bool
		err := c.DB.GetContext(ctx, &known, `select exists (select from rollcall.restores where id = $1)`, id)
		if err != nil {
			return fmt.Errorf("look for restore %s: %w", id, err)
		}
		if known {
			return nil
		}
		if runs, err := c.runs(ctx, workflowID); err != nil || !runs {
			return err
		}
		var progress runbook.RestoreProgress
		if err := c.query(ctx, workflowID, runbook.QueryTally, &progress); err != nil {
			return fmt.Errorf("ask restore %s how far it is (is a worker running?): %w", id, err)
		}
		if progress.Phase == runbook.PhaseOpening {
			return nil // it is about to be known
		}
		found[id] = Violation{
			Invariant: WorkflowRuns, RestoreID: id, WorkflowID: workflowID,
			Message: "workflows call the roll of a restore that the database does not know, because it was put back to before " +
				"that began; `starter cancel " + id + " --reason REASON` ends them, and `starter restore` calls the roll again",
		}
		return nil
	})
	return found, err
}

// progressOf asks each running restore which of its devices it has called. A restore without a workflow is a violation.
func (c Checker) progressOf(
	ctx context.Context, restores []runningRestore,
) (map[string]runbook.RestoreProgress, []Violation, error) {
	said, found := map[string]runbook.RestoreProgress{}, []Violation{}
	for _, restore := range restores {
		id := restore.ID
		workflowID := runbook.RestoreWorkflowID(id)
		runs, err := c.runs(ctx, workflowID)
		if err != nil {
			return nil, nil, err
		}
		var progress runbook.RestoreProgress
		if !runs {
			found = append(found, Violation{
				Invariant: WorkflowRuns, RestoreID: id, OrgID: restore.OrgID, WorkflowID: workflowID, Missing: true,
				Message: "the restore is open, and no workflow runs it (where it had ended, the database was put back to before " +
					"that); `starter restore --id " + id + "` takes it up again",
			})
			said[id] = progress // its devices have no parent to start them; the restore itself is what is missing
			continue
		}
		if err := c.query(ctx, workflowID, runbook.QueryTally, &progress); err != nil {
			return nil, nil, fmt.Errorf("ask restore %s how far it has called its devices (is a worker running?): %w", id, err)
		}
		said[id] = progress
	}
	return said, found, nil
}

func (c Checker) checkWaiting(
	ctx context.Context, w waitingRow, id string, shown indexed, ok bool,
) ([]Violation, error) {
	if ok && shown.restoreID == w.RestoreID && shown.state == w.State {
		return nil, nil
	}
	runs, err := c.runs(ctx, id)
	if err != nil {
		return nil, err
	}
	if !runs {
		v := w.violation(WorkflowRuns, "the device waits, and no workflow waits for it")
		v.Missing = true
		return []Violation{v}, nil
	}
	var status runbook.DeviceStatus
	if err := c.query(ctx, id, runbook.QueryState, &status); err != nil {
		return nil, fmt.Errorf("ask workflow %s for its state (is a worker running?): %w", id, err)
	}
	switch {
	case status.RestoreID != w.RestoreID:
		return []Violation{w.violation(WorkflowFollowsRoll, "the workflow is of restore %s", status.RestoreID)}, nil
	case status.State != w.State:
		return []Violation{w.violation(WorkflowFollowsRoll, "the roll says %s, and the workflow says %s", w.State,
			status.State)}, nil
	case ok:
		return []Violation{w.violation(WorkflowFollowsRoll, "the roll says %s, and the search index says %s", w.State,
			shown.state)}, nil
	}
	return []Violation{w.violation(WorkflowFollowsRoll, "the workflow runs, and the search index does not show it")}, nil
}

// checkUnwanted looks at the workflows that run although no one waits for their device. Those of unknown restores are
// found already.
func (c Checker) checkUnwanted(
	ctx context.Context, running map[string]indexed, waiting []waitingRow, unknown map[string]Violation,
) ([]Violation, error) {
	wanted := map[string]bool{}
	for _, w := range waiting {
		wanted[runbook.DeviceWorkflowID(w.OrgID, w.Name)] = true
	}
	var found []Violation
	for id, shown := range running {
		orgID, name, ok := runbook.ParseDeviceWorkflowID(id)
		if _, of := unknown[shown.restoreID]; !ok || wanted[id] || of {
			continue
		}
		runs, err := c.runs(ctx, id)
		if err != nil {
			return nil, err
		}
		if runs {
			row := deviceRow{RestoreID: shown.restoreID, OrgID: orgID, Name: name}
			found = append(found, row.violation(WorkflowRuns, "a workflow waits for the device, and no running restore does"))
		}
	}
	return found, nil
}

const pageSize = 1000

// runningDevices lists the running device workflows from the search index.
func (c Checker) runningDevices(ctx context.Context) (map[string]indexed, error) {
	found := map[string]indexed{}
	err := c.eachRunning(ctx, runbook.DeviceWorkflowName, func(w *workflow.WorkflowExecutionInfo) error {
		one := indexed{}
		for name, into := range map[string]*string{
			runbook.AttributeRestoreID: &one.restoreID, runbook.AttributeDeviceStatus: (*string)(&one.state),
		} {
			if payload := w.GetSearchAttributes().GetIndexedFields()[name]; payload != nil {
				if err := converter.GetDefaultDataConverter().FromPayload(payload, into); err != nil {
					return fmt.Errorf("read search attribute %s of %s: %w", name, w.GetExecution().GetWorkflowId(), err)
				}
			}
		}
		found[w.GetExecution().GetWorkflowId()] = one
		return nil
	})
	return found, err
}

// eachRunning calls do with each running workflow of a type, as the search index shows it.
func (c Checker) eachRunning(
	ctx context.Context, kind string, do func(*workflow.WorkflowExecutionInfo) error,
) error {
	request := &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: pageSize, // of the client's namespace
		Query:    "WorkflowType = " + strconv.Quote(kind) + ` AND ExecutionStatus = "Running"`,
	}
	for {
		page, err := c.Temporal.ListWorkflow(ctx, request)
		if err != nil {
			return fmt.Errorf("list the workflows of type %s: %w", kind, err)
		}
		for _, w := range page.GetExecutions() {
			if err := do(w); err != nil {
				return err
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.GetNextPageToken()) == 0 {
			return nil
		}
	}
}

// runs reports whether a workflow of this id runs now.
func (c Checker) runs(ctx context.Context, id string) (bool, error) {
	described, err := c.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for workflow %s: %w", id, err)
	}
	return described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// query asks a workflow. A question that was not answered in time is asked once more: it may have gone to a worker that
// has died and had the workflow in its cache.
func (c Checker) query(ctx context.Context, id, query string, into any) error {
	err := c.ask(ctx, id, query, into)
	var late *serviceerror.DeadlineExceeded
	if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late)) {
		return c.ask(ctx, id, query, into)
	}
	return err
}

func (c Checker) ask(ctx context.Context, id, query string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	answer, err := c.Temporal.QueryWorkflow(ctx, id, "", query)
	if err != nil {
		return err
	}
	return answer.Get(into)
}
