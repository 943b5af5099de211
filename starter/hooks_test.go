package main

import (
	"context"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// hooks are what happens in the world around a command's calls to Temporal.
type hooks struct {
	// update is for resumes alone, so that it can report a version itself.
	update func(workflowID string)
	// start and started are for workflows of this id, before and after it is started.
	start, started func(workflowID string)
	// signal is for signals, before they are sent.
	signal func(workflowID string)
	// tally is what a restore answers about its progress; nil leaves that to its workflow.
	tally *runbook.RestoreProgress
}

type hookedClient struct {
	client.Client
	hooks *hooks
}

func (c hookedClient) UpdateWorkflow(
	ctx context.Context, options client.UpdateWorkflowOptions,
) (client.WorkflowUpdateHandle, error) {
	if c.hooks.update != nil && options.UpdateName == runbook.UpdateResume {
		c.hooks.update(options.WorkflowID)
	}
	return c.Client.UpdateWorkflow(ctx, options)
}

func (c hookedClient) ExecuteWorkflow(
	ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any,
) (client.WorkflowRun, error) {
	if c.hooks.start != nil {
		c.hooks.start(options.ID)
	}
	run, err := c.Client.ExecuteWorkflow(ctx, options, workflow, args...)
	if c.hooks.started != nil {
		c.hooks.started(options.ID)
	}
	return run, err
}

func (c hookedClient) SignalWorkflow(ctx context.Context, workflowID, runID, signal string, arg any) error {
	if c.hooks.signal != nil {
		c.hooks.signal(workflowID)
	}
	return c.Client.SignalWorkflow(ctx, workflowID, runID, signal, arg)
}

func (c hookedClient) QueryWorkflow(
	ctx context.Context, workflowID, runID, queryType string, args ...any,
) (converter.EncodedValue, error) {
	if c.hooks.tally != nil && queryType == runbook.QueryTally {
		payloads, err := converter.GetDefaultDataConverter().ToPayloads(c.hooks.tally)
		return client.NewValue(payloads), err
	}
	return c.Client.QueryWorkflow(ctx, workflowID, runID, queryType, args...)
}
