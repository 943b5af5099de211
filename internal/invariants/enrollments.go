package invariants

import (
	"context"
	"fmt"

	"go.temporal.io/api/workflow/v1"

	"rollcall/inventory"
	"rollcall/runbook"
)

// checkEnrollments looks for workflows that wait for a decision about an enrollment request that was decided, and for
// those that have one which the database does not know. The workflow of an approved request runs until its device has
// left the roll call, and is asked. devices are the workflows of devices that run, by id.
func (c Checker) checkEnrollments(ctx context.Context, devices map[string]indexed) ([]Violation, error) {
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
	isDecided := map[inventory.PendingRequest]bool{}
	for _, request := range decided {
		isDecided[request] = true
	}
	var found []Violation
	for _, request := range running {
		// Beside a pending request, a workflow that has a decision runs its device's.
		if _, calls := devices[runbook.DeviceWorkflowID(request.OrgID, request.Name)]; !calls && !isDecided[request] {
			continue
		}
		some, err := c.checkEnrollment(ctx, request, isDecided[request])
		if found = append(found, some...); err != nil {
			return found, err
		}
	}
	return found, nil
}

// checkEnrollment asks the workflow of a request that was decided, or is pending, whether it says so too.
func (c Checker) checkEnrollment(
	ctx context.Context, request inventory.PendingRequest, decided bool,
) ([]Violation, error) {
	id := runbook.EnrollmentWorkflowID(request.OrgID, request.Name)
	runs, err := c.runs(ctx, id)
	if err != nil || !runs {
		return nil, err
	}
	var status runbook.EnrollmentStatus
	of := Violation{OrgID: request.OrgID, Name: request.Name, WorkflowID: id}
	answered, err := c.ask(ctx, of, runbook.QueryState, &status)
	if err != nil || !answered {
		return nil, err
	}
	if waits := status.State == runbook.EnrollmentPending; waits != decided {
		return nil, nil
	}
	said := "the enrollment request was decided, and its workflow waits for a decision"
	if !decided {
		said = fmt.Sprintf("the enrollment request is pending, and its workflow says %s", status.State)
	}
	return []Violation{{
		Invariant: WorkflowFollowsRequest, RestoreID: status.RestoreID, OrgID: request.OrgID, Name: request.Name,
		WorkflowID: id,
		Message:    said + "; `temporal workflow signal --name look --workflow-id " + id + " --input '{}'` has it follow",
	}}, nil
}
