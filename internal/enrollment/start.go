// Package enrollment starts the workflow of an enrollment request, in one way for all who find one: the restore that
// looks for those of the backup, and the gateway to which an agent brings another.
package enrollment

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
)

// Starter is what is needed of a Temporal client to start workflows; a client.Client is one.
type Starter interface {
	ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any,
		args ...any) (client.WorkflowRun, error)
}

// Start starts the EnrollmentWorkflow of a request on a task queue, and returns once that is durable. One that waits
// already goes on waiting, and is no error; one that has ended, with an older decision, is followed by a new one.
// summary is what the web UI shows beside "enrollment of NAME".
func Start(ctx context.Context, starter Starter, taskQueue, summary string, in runbook.EnrollmentInput) error {
	attributes := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword(runbook.AttributeDeviceName).ValueSet(in.Name),
	}
	if in.RestoreID != "" {
		attributes = append(attributes,
			temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID).ValueSet(in.RestoreID))
	}
	_, err := starter.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       runbook.EnrollmentWorkflowID(in.OrgID, in.Name),
		TaskQueue:                                taskQueue,
		TypedSearchAttributes:                    temporal.NewSearchAttributes(attributes...),
		StaticSummary:                            "enrollment of " + in.Name + ", " + summary,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, runbook.EnrollmentWorkflowName, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return nil
	}
	return err
}
