package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
)

// DeviceStarter starts workflows; a Temporal client does.
type DeviceStarter interface {
	ExecuteWorkflow(
		ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any,
	) (client.WorkflowRun, error)
}

// StartDevice starts the workflow of a device that a restore waits for and that has none. why is shown in the web UI
// beside the device's name. A workflow that runs already is no error.
func StartDevice(ctx context.Context, c DeviceStarter, queue, restoreID, why string, entry inventory.RollEntry) error {
	id := runbook.DeviceWorkflowID(entry.OrgID, entry.Name)
	in := runbook.DeviceInput{
		RestoreID: restoreID, OrgID: entry.OrgID, Name: entry.Name, Fleet: entry.Fleet,
		State: entry.State, Restored: entry.Restored, Reported: entry.Reported, Since: entry.Since,
		Noted: entry.Noted, Look: entry.Look, Mode: entry.Mode, TellRestore: true, ReadStory: true,
	}
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: queue, StaticSummary: entry.Name + ", " + why,
		TypedSearchAttributes:                    deviceAttributes(restoreID, entry),
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, runbook.DeviceWorkflowName, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &already) {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}
