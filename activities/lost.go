package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"

	"rollcall/inventory"
	"rollcall/inventory/known"
	"rollcall/runbook"
)

// DecisionStandsInput names a decision about an enrollment request; At is when it was taken, zero where that is not
// known.
type DecisionStandsInput struct {
	OrgID string    `json:"orgId"`
	Name  string    `json:"name"`
	At    time.Time `json:"at,omitzero"`
}

// DecisionStandsResult reports whether the database knows the decision.
type DecisionStandsResult struct {
	Stands bool `json:"stands"`
}

// DecisionStands reads whether the database knows a decision about an enrollment request. One that was put back to an
// earlier moment may not.
func (a *Activities) DecisionStands(ctx context.Context, in DecisionStandsInput) (DecisionStandsResult, error) {
	stands, err := a.Inventory.DecisionStands(ctx, inventory.DecisionStandsInput(in))
	return DecisionStandsResult{Stands: stands}, asActivityError(err)
}

// nameLostEnds writes to the audit that a restore had ended, where it is taken up again because the database, put back
// to an earlier moment, holds it open. Completed, it cannot be taken up otherwise. Cancelled, it can be, and the end is
// lost where the audit does not have it, unless the run is of a release that wrote none.
func (a *Activities) nameLostEnds(ctx context.Context, in OpenRestoreInput, wasRunning bool) error {
	if a.Workflows == nil {
		return nil
	}
	query := fmt.Sprintf("WorkflowId = '%s' AND ExecutionStatus != 'Running'", runbook.RestoreWorkflowID(in.ID))
	return eachPage(ctx, a.Workflows, query, func(page []*workflow.WorkflowExecutionInfo) error {
		for _, e := range page {
			ended, err := a.lostEnd(ctx, in.ID, e, wasRunning)
			if err != nil {
				return err
			}
			if ended == "" {
				continue
			}
			err = a.Inventory.RecordAct(ctx, inventory.ActInput{
				Act: runbook.ActRestore, OrgID: in.OrgID, RestoreID: in.ID, By: inventory.ActorService,
				RequestID: known.Named + e.GetExecution().GetRunId(), Refusal: runbook.LostEnd(in.ID, ended),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// lostEnd returns how a run of a restore has ended; empty where the database knows that, or it has ended otherwise.
func (a *Activities) lostEnd(
	ctx context.Context, id string, e *workflow.WorkflowExecutionInfo, wasRunning bool,
) (runbook.RestoreState, error) {
	run := e.GetExecution().GetRunId()
	switch e.GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		var status runbook.RestoreStatus
		err := a.Workflows.GetWorkflow(ctx, runbook.RestoreWorkflowID(id), run).Get(ctx, &status)
		if err != nil {
			return "", fmt.Errorf("read how restore %s ended: %w", id, err)
		}
		return status.State, nil
	case enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
		if !wasRunning {
			return "", nil
		}
		known, err := a.Inventory.KnowsCancel(ctx, id, run, e.GetCloseTime().AsTime())
		if err != nil || known {
			return "", err
		}
		return runbook.RestoreCancelled, nil
	}
	return "", nil
}

// nameLosses writes to the audit, for as long as the watch runs, what workflows have answered that the database, put
// back to an earlier moment, does not know. What fails is logged, and tried again in the next round.
func (w *watch) nameLosses(ctx context.Context, a *Activities, every time.Duration) {
	if a.Workflows == nil {
		return
	}
	l := a.lossesOf(w.restoreID)
	for {
		began := time.Now()
		w.show(ctx, "naming what was lost", errors.Join(l.nameOutcomes(ctx), l.nameDecisions(ctx)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(every, reconcileShare*time.Since(began))):
		}
	}
}

// closingLimit is how long a restore looks for losses of devices, and as long for those of requests, as it completes.
// endingLimit is the same where it ends otherwise, which another restore may wait for.
const (
	closingLimit = 30 * time.Second
	endingLimit  = 5 * time.Second
)

// nameLossesAtEnd names what was lost before a restore closes. It names nothing where devices wait, so that the restore
// goes on, and nothing of one that has closed already. Where not all could be read, the restore closes all the same.
func (a *Activities) nameLossesAtEnd(ctx context.Context, in CloseRestoreInput) {
	if a.Workflows == nil {
		return
	}
	completes, limit := in.State == runbook.RestoreCompleted, endingLimit
	if completes {
		limit = closingLimit
	}
	within := func(do func(context.Context) error) error {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return do(limited)
	}
	status, err := a.Inventory.RestoreStatus(ctx, in.RestoreID)
	closed := status.State == runbook.RestoreCompleted || status.State == runbook.RestoreCancelled
	if err == nil && (closed || completes && status.Waiting() > 0) {
		return
	}
	if err == nil {
		l := a.lossesOf(in.RestoreID)
		l.listed = !completes // its numbers say whether there is something to look for
		err = errors.Join(within(l.nameOutcomes), within(l.nameDecisions))
	}
	if err != nil {
		activity.GetLogger(ctx).Warn("Not everything that the database has lost could be named", "restore", in.RestoreID,
			"error", err)
	}
}

// losses names what the database has lost of a restore. The search index says which workflows have ended. A workflow
// itself says what it has answered, and the database whether it knows that.
type losses struct {
	restoreID string
	inventory *inventory.Store
	workflows Workflows
	// listed reports whether the workflows of devices that have ended were listed, and more by how many they outnumbered
	// what the database knew, when that was counted last.
	listed bool
	more   int64
	// decided has the decisions with which runs of enrollment workflows have ended, by the ids of the runs.
	decided map[string]known.Decision
}

func (a *Activities) lossesOf(restoreID string) *losses {
	return &losses{
		restoreID: restoreID, inventory: a.Inventory, workflows: a.Workflows, decided: map[string]known.Decision{},
	}
}

// failed counts what could not be read or written. Of very many errors it keeps one.
type failed struct {
	times int
	last  error
}

func (f *failed) add(err error) {
	if err != nil {
		f.times, f.last = f.times+1, err
	}
}

func (f *failed) err() error {
	if f.times > 1 {
		return fmt.Errorf("%d times, at last: %w", f.times, f.last)
	}
	return f.last
}

// nameOutcomes names how devices had left the roll call. Workflows are listed at first, and again when those that have
// ended outnumber what the database knows by more than before: a device that joins twice adds one for good, and the
// index forgets what is older than the retention of the namespace.
func (l *losses) nameOutcomes(ctx context.Context) error {
	// The index is asked first: what ends meanwhile is then no loss. A superseded device keeps the state that it had.
	query := fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Completed' AND %s IN ('%s', '%s')",
		runbook.DeviceWorkflowName, runbook.AttributeRestoreID, l.restoreID, runbook.AttributeDeviceStatus,
		runbook.StateNormal, runbook.StateWithdrawn)
	count, err := l.workflows.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	if err != nil {
		return fmt.Errorf("count the workflows of devices that have ended: %w", err)
	}
	ends, err := known.Ends(ctx, l.inventory.DB(), l.restoreID)
	if err != nil {
		return err
	}
	more := count.GetCount() - ends
	if !l.listed || more > l.more {
		if err := l.listOutcomes(ctx, query); err != nil {
			return err
		}
	}
	l.listed, l.more = true, more
	return nil
}

// listOutcomes looks at the runs of each device of which more have ended than the audit knows.
func (l *losses) listOutcomes(ctx context.Context, query string) error {
	runs := map[known.Device][]string{}
	err := eachPage(ctx, l.workflows, query, func(page []*workflow.WorkflowExecutionInfo) error {
		for _, e := range page {
			if orgID, name, ok := runbook.ParseDeviceWorkflowID(e.GetExecution().GetWorkflowId()); ok {
				device := known.Device{OrgID: orgID, Name: name}
				runs[device] = append(runs[device], e.GetExecution().GetRunId())
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the workflows of devices that have ended: %w", err)
	}
	ends, err := known.EndsOf(ctx, l.inventory.DB(), l.restoreID)
	if err != nil {
		return err
	}
	var failed failed
	for device, ended := range runs {
		if len(ended) <= ends[device] {
			continue
		}
		for _, run := range ended {
			failed.add(l.nameOutcome(ctx, device, run))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed.err()
}

// nameOutcome writes to the audit how a run of a device's workflow has ended, where the database does not know that.
func (l *losses) nameOutcome(ctx context.Context, device known.Device, run string) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	id := runbook.DeviceWorkflowID(device.OrgID, device.Name)
	var result runbook.DeviceResult
	err := l.workflows.GetWorkflow(ctx, id, run).Get(ctx, &result)
	var status runbook.DeviceStatus // it has when, and who withdrew the device
	if err == nil {
		status, err = l.status(ctx, id, run)
	}
	if err != nil {
		return fmt.Errorf("read how device %s left the roll call: %w", device.Name, err)
	}
	stand, err := known.Of(ctx, l.inventory.DB(), l.restoreID, device, status.State, status.Since)
	if err != nil || stand.Known {
		return err
	}
	if result.By == "" {
		result.By, result.Reason = status.EndedBy()
	}
	return l.inventory.RecordRefusal(ctx, inventory.RefusalInput{
		RestoreID: l.restoreID, OrgID: device.OrgID, Name: device.Name, Message: string(result.Outcome), By: result.By,
		Reason: result.Reason, Version: result.Reported, State: stand.Now, RequestID: known.Named + run,
		Refusal: *runbook.LostOutcome(result, stand.Now),
	})
}

func (l *losses) status(ctx context.Context, id, run string) (status runbook.DeviceStatus, err error) {
	value, err := l.workflows.QueryWorkflow(ctx, id, run, runbook.QueryState)
	if err == nil {
		err = value.Get(&status)
	}
	return status, err
}

// clocksDiffer is by how much the clocks of PostgreSQL and of Temporal may differ.
const clocksDiffer = time.Hour

// nameDecisions names how enrollment requests had been decided. Each run is read once.
func (l *losses) nameDecisions(ctx context.Context) error {
	since, err := known.Since(ctx, l.inventory.DB(), l.restoreID)
	if err != nil || since.IsZero() {
		return err
	}
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Completed' AND CloseTime > '%s'",
		runbook.EnrollmentWorkflowName, since.Add(-clocksDiffer).UTC().Format(time.RFC3339))
	var failed failed
	err = eachPage(ctx, l.workflows, query, func(page []*workflow.WorkflowExecutionInfo) error {
		for _, e := range page {
			failed.add(l.readDecision(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId()))
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	if err != nil {
		failed.add(fmt.Errorf("list the workflows of enrollment requests that have ended: %w", err))
	}
	unknown, err := known.Without(ctx, l.inventory.DB(), l.restoreID, slices.Collect(maps.Values(l.decided)))
	failed.add(err)
	for _, decision := range unknown {
		failed.add(l.nameDecision(ctx, decision))
	}
	return failed.err()
}

// readDecision reads the decision with which a run of an enrollment workflow has ended, unless it was read before.
func (l *losses) readDecision(ctx context.Context, workflowID, run string) error {
	orgID, name, ok := runbook.ParseEnrollmentWorkflowID(workflowID)
	if _, read := l.decided[run]; read || !ok || uuid.Validate(orgID) != nil {
		return nil
	}
	var result runbook.EnrollmentResult
	if err := l.workflows.GetWorkflow(ctx, workflowID, run).Get(ctx, &result); err != nil {
		return fmt.Errorf("read the decision of %s: %w", workflowID, err)
	}
	if result.Decision.Name != name { // it was started by hand, for another request than its id says
		result.Decision.At = nil // and names nothing
	}
	l.decided[run] = known.Decision{Device: known.Device{OrgID: orgID, Name: name}, RunID: run, Taken: result.Decision}
	return nil
}

func (l *losses) nameDecision(ctx context.Context, lost known.Decision) error {
	return l.inventory.RecordRefusal(ctx, inventory.RefusalInput{
		RestoreID: l.restoreID, OrgID: lost.OrgID, Name: lost.Name, Message: lost.Taken.Signal(), By: lost.Taken.By,
		Reason: lost.Taken.Reason, Refusal: *runbook.LostDecision(lost.Taken), RequestID: known.Named + lost.RunID,
	})
}
