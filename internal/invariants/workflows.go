package invariants

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// waitingRow is a device that a running restore waits for.
type waitingRow struct {
	deviceRow
	Seq   int64         `db:"seq"`
	State runbook.State `db:"state"`
	Batch *int          `db:"batch"`
}

const selectWaiting = `
select r.restore_id, r.org_id, r.name, r.seq, r.state, r.batch
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id and s.state = 'Running'
where r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded
order by r.restore_id, r.seq`

const selectRunning = `
select id, coalesce(cast(org_id as text), '') as org_id from rollcall.restores where state = 'Running'
order by started_at, id`

// runningRestore is a restore, which runs unless said otherwise; an empty OrgID is all organisations.
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
// has not come needs no workflow yet. One that does not answer is a violation, and the others are checked all the same.
// With an error it returns what was found before.
func (c Checker) Workflows(ctx context.Context) (found []Violation, err error) {
	c.asked = newAsked()
	defer func() { found = append(found, c.asked.violations()...) }()
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
		return found, err
	}
	var waiting []waitingRow
	if err := c.DB.SelectContext(ctx, &waiting, selectWaiting); err != nil {
		return found, fmt.Errorf("read who waits: %w", err)
	}
	for _, w := range waiting {
		id := runbook.DeviceWorkflowID(w.OrgID, w.Name)
		shown, ok := running[id]
		delete(running, id)
		if p, runs := progress[w.RestoreID]; runs && (p.Stopping || !p.HasCalled(w.Seq, w.Batch)) {
			continue // its workflow may be gone, or still be that of another restore
		}
		some, err := c.checkWaiting(ctx, w, id, shown, ok)
		if found = append(found, some...); err != nil {
			return found, err
		}
	}
	unknown, err := c.checkUnknown(ctx)
	if err != nil {
		return found, err
	}
	for _, id := range slices.Sorted(maps.Keys(unknown)) {
		found = append(found, unknown[id])
	}
	for _, check := range []func() ([]Violation, error){
		func() ([]Violation, error) { return c.checkUnwanted(ctx, running, progress, unknown) },
		func() ([]Violation, error) { return c.checkReports(ctx, progress) },
		func() ([]Violation, error) { return c.checkEnrollments(ctx, devices) },
		func() ([]Violation, error) { return c.checkPlans(ctx) },
	} {
		some, err := check()
		if found = append(found, some...); err != nil {
			return found, err
		}
	}
	return found, nil
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
		of := Violation{RestoreID: id, WorkflowID: workflowID}
		answered, err := c.ask(ctx, of, runbook.QueryTally, &progress)
		if err != nil || !answered || progress.Phase == runbook.PhaseOpening {
			return err // one that is opened is about to be known
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
			return said, found, err
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
		of := Violation{RestoreID: id, OrgID: restore.OrgID, WorkflowID: workflowID}
		if _, err := c.ask(ctx, of, runbook.QueryTally, &progress); err != nil {
			return said, found, err
		}
		said[id] = progress // where it has not answered, it is not known which of its devices were called
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
	answered, err := c.ask(ctx, w.violation("", ""), runbook.QueryState, &status)
	if err != nil || !answered {
		return nil, err
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
// found already. Those of a restore that is ending have their time: a restore that was superseded has ended in the
// database before its workflows do.
func (c Checker) checkUnwanted(
	ctx context.Context, running map[string]indexed, progress map[string]runbook.RestoreProgress,
	unknown map[string]Violation,
) (found []Violation, err error) {
	ending := map[string]bool{}
	for id, p := range progress {
		ending[id] = p.Stopping
	}
	for _, id := range slices.Sorted(maps.Keys(running)) {
		shown := running[id]
		orgID, name, ok := runbook.ParseDeviceWorkflowID(id)
		if _, of := unknown[shown.restoreID]; !ok || of {
			continue
		}
		if _, known := ending[shown.restoreID]; !known {
			if ending[shown.restoreID], err = c.isEnding(ctx, shown.restoreID); err != nil {
				return found, err
			}
		}
		if ending[shown.restoreID] {
			continue
		}
		runs, err := c.runs(ctx, id)
		if err != nil {
			return found, err
		}
		if runs {
			row := deviceRow{RestoreID: shown.restoreID, OrgID: orgID, Name: name}
			found = append(found, row.violation(WorkflowRuns, "a workflow waits for the device, and no running restore does"))
		}
	}
	return found, nil
}

// isEnding reports whether the workflow of a restore that has ended in the database still runs and ends those of its
// devices, or does not answer, which is found elsewhere. A worker of an earlier release says nothing of that.
func (c Checker) isEnding(ctx context.Context, restoreID string) (bool, error) {
	of := Violation{RestoreID: restoreID, WorkflowID: runbook.RestoreWorkflowID(restoreID)}
	runs, err := c.runs(ctx, of.WorkflowID)
	if err != nil || !runs {
		return false, err
	}
	var progress runbook.RestoreProgress
	answered, err := c.ask(ctx, of, runbook.QueryTally, &progress)
	return !answered || progress.Stopping, err
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
