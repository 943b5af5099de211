package workflows

import (
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// DecisionWorkflow records who decides something, and ends. The Temporal server writes its caller into the start of the
// workflow's history, where it can do that, and the activity reads it there.
func DecisionWorkflow(ctx workflow.Context, in runbook.DecisionInput) (runbook.DecisionRecord, error) {
	err := in.Check()
	id, want := workflow.GetInfo(ctx).WorkflowExecution.ID, runbook.DecisionWorkflowID(in.ID)
	if err == nil && id != want {
		err = runbook.Refuse(runbook.CodeInvalidRequest, "the workflow id is %q but must be %q", id, want)
	}
	if err != nil {
		return runbook.DecisionRecord{}, asFailure(err)
	}
	var record runbook.DecisionRecord
	err = runTransition(ctx, "record who decides", acts.RecordDecision, in, &record)
	return record, asFailure(err)
}
