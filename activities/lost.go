package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"

	"rollcall/inventory"
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
				RequestID: "lost/" + e.GetExecution().GetRunId(), Refusal: runbook.LostEnd(in.ID, ended),
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
