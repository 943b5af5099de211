package activities

import (
	"context"
	"fmt"
	"time"

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
// to an earlier moment, holds it open. One that was cancelled may be taken up in any case.
func (a *Activities) nameLostEnds(ctx context.Context, in OpenRestoreInput) error {
	if a.Workflows == nil {
		return nil
	}
	id := runbook.RestoreWorkflowID(in.ID)
	query := fmt.Sprintf("WorkflowId = '%s' AND ExecutionStatus = 'Completed'", id)
	return eachPage(ctx, a.Workflows, query, func(page []*workflow.WorkflowExecutionInfo) error {
		for _, e := range page {
			var status runbook.RestoreStatus
			run := e.GetExecution().GetRunId()
			if err := a.Workflows.GetWorkflow(ctx, id, run).Get(ctx, &status); err != nil {
				return fmt.Errorf("read how restore %s ended: %w", in.ID, err)
			}
			err := a.Inventory.RecordAct(ctx, inventory.ActInput{
				Act: runbook.ActRestore, OrgID: in.OrgID, RestoreID: in.ID, By: inventory.ActorService,
				RequestID: "lost/" + run, Refusal: runbook.LostEnd(in.ID, status.State),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
