package main

import (
	"context"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// hooks are what happens in the world just before a command's call reaches Temporal.
type hooks struct {
	update func(workflowID string)
	start  func()
	// query fails a query that it returns an error for.
	query func() error
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

func (c hookedClient) QueryWorkflow(ctx context.Context, workflowID, runID, queryType string, args ...any) (converter.EncodedValue, error) {
	if c.hooks.query != nil {
		if err := c.hooks.query(); err != nil {
			return nil, err
		}
	}
	return c.Client.QueryWorkflow(ctx, workflowID, runID, queryType, args...)
}
