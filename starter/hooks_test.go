package main

import (
	"context"

	"go.temporal.io/sdk/client"
)

// hooks are what happens in the world just before a command's call reaches Temporal.
type hooks struct {
	update func(workflowID string)
	start  func()
}

type hookedClient struct {
	client.Client
	hooks *hooks
}

func (c hookedClient) UpdateWorkflow(ctx context.Context, options client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	if c.hooks.update != nil {
		c.hooks.update(options.WorkflowID)
	}
	return c.Client.UpdateWorkflow(ctx, options)
}

func (c hookedClient) ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	if c.hooks.start != nil {
		c.hooks.start()
	}
	return c.Client.ExecuteWorkflow(ctx, options, workflow, args...)
}
