package workflows

import (
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// Register makes the workflows known to a worker under the names that are on the wire.
func Register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(RestoreWorkflow, workflow.RegisterOptions{Name: runbook.RestoreWorkflowName})
	r.RegisterWorkflowWithOptions(BatchWorkflow, workflow.RegisterOptions{Name: runbook.BatchWorkflowName})
	r.RegisterWorkflowWithOptions(EnrollmentWorkflow, workflow.RegisterOptions{Name: runbook.EnrollmentWorkflowName})
	r.RegisterWorkflowWithOptions(ResumeWorkflow, workflow.RegisterOptions{Name: runbook.ResumeWorkflowName})
	r.RegisterWorkflowWithOptions(DecisionWorkflow, workflow.RegisterOptions{Name: runbook.DecisionWorkflowName})
	r.RegisterWorkflowWithOptions(DeviceWorkflow, workflow.RegisterOptions{Name: runbook.DeviceWorkflowName})
}
