package invariants

import (
	"context"
	"fmt"

	"go.temporal.io/api/workflow/v1"

	"rollcall/inventory"
	"rollcall/runbook"
)

// checkEnrollments looks for workflows that wait for a decision about an enrollment request that was decided. The
// workflow of an approved request runs until its device has left the roll call, and is asked.
func (c Checker) checkEnrollments(ctx context.Context) ([]Violation, error) {
	var running []inventory.PendingRequest
	err := c.eachRunning(ctx, runbook.EnrollmentWorkflowName, func(w *workflow.WorkflowExecutionInfo) error {
		if orgID, name, ok := runbook.ParseEnrollmentWorkflowID(w.GetExecution().GetWorkflowId()); ok {
			running = append(running, inventory.PendingRequest{OrgID: orgID, Name: name})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	decided, err := inventory.DecidedRequests(ctx, c.DB, running)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, request := range decided {
		id := runbook.EnrollmentWorkflowID(request.OrgID, request.Name)
		runs, err := c.runs(ctx, id)
		if err != nil {
			return nil, err
		}
		if !runs {
			continue
		}
		var status runbook.EnrollmentStatus
		if err := c.query(ctx, id, runbook.QueryState, &status); err != nil {
			return nil, fmt.Errorf("ask workflow %s for its state (is a worker running?): %w", id, err)
		}
		if status.State == runbook.EnrollmentPending {
			found = append(found, Violation{
				Invariant: WorkflowFollowsRequest, RestoreID: status.RestoreID, OrgID: request.OrgID, Name: request.Name,
				WorkflowID: id,
				Message: "the enrollment request was decided, and its workflow waits for a decision; `temporal workflow signal " +
					"--name look --workflow-id " + id + " --input '{}'` has it follow",
			})
		}
	}
	return found, nil
}
