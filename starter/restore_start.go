package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// precheck says at once, and without a worker, what the workflow would refuse. It may miss something; the workflow decides.
func (o *restoreOptions) precheck(ctx context.Context, store *inventory.Store, orgID string) error {
	restores, err := store.Restores(ctx, 100)
	if err != nil {
		return fmt.Errorf("read the restores there are: %w", err)
	}
	for _, r := range restores {
		if r.RestoreID == o.id && (r.State == runbook.RestoreCompleted || r.State == runbook.RestoreSuperseded) {
			return runbook.Refuse(runbook.CodeRestoreEnded, "restore %s has ended (%s) and cannot be taken up again: start one with another --id", o.id, r.State)
		}
	}
	for _, r := range restores {
		// Whether one of a single organisation is in the way of another's is not seen here.
		if r.RestoreID != o.id && r.State == runbook.RestoreRunning && orgID == "" && !o.supersede {
			return runbook.Refuse(runbook.CodeRestoreRunning, "restore %s still runs (%d of %d devices wait): watch it with `%s`, or take over from it with --supersede", r.RestoreID, r.Waiting(), r.Total, command("", "status", r.RestoreID))
		}
	}
	return nil
}

// endPatience is how long the workflow of a restore that is over may take to end, before the restore is taken up again.
const endPatience = 10 * time.Second

// errRuns is that a workflow of the restore runs already.
var errRuns = errors.New("runs already")

// startOrTakeUp starts the restore's workflow. Where the restore was cancelled a moment ago, its workflow may not quite have
// ended yet, and is waited for.
func (o *restoreOptions) startOrTakeUp(ctx context.Context, store *inventory.Store, c client.Client, orgID string) (client.WorkflowRun, error) {
	deadline := time.Now().Add(endPatience)
	for {
		started, err := o.start(ctx, c, orgID)
		if !errors.Is(err, errRuns) || time.Now().After(deadline) {
			return started, err
		}
		if status, stateErr := store.RestoreStatus(ctx, o.id); stateErr != nil || status.State != runbook.RestoreCancelled {
			return started, err
		}
		select {
		case <-ctx.Done():
			return started, err
		case <-time.After(startInterval):
		}
	}
}

// start starts the restore's workflow.
func (o *restoreOptions) start(ctx context.Context, c client.Client, orgID string) (client.WorkflowRun, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	options := o.startOptions(orgID)
	in := runbook.RestoreInput{
		RestoreID: o.id, OrgID: orgID, Supersede: o.supersede, By: o.as, WatchInterval: o.watchInterval.String(),
		BatchSize: o.batchSize, BatchesAtOnce: o.batchesAtOnce,
	}
	started, err := c.ExecuteWorkflow(ctx, options, runbook.RestoreWorkflowName, in)
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) && strings.Contains(invalid.Message, runbook.AttributeRestoreID) {
		// The first worker registers the search attribute and sets it; until one has run, the server does not know it.
		options.TypedSearchAttributes = temporal.SearchAttributes{}
		started, err = c.ExecuteWorkflow(ctx, options, runbook.RestoreWorkflowName, in)
	}
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &running) {
		return nil, fmt.Errorf("restore %s %w: watch it with `%s`", o.id, errRuns, command("", "status", o.id))
	}
	if err != nil {
		return nil, fmt.Errorf("start restore %s: %w", o.id, err)
	}
	return started, nil
}

// startOptions set no execution timeout: the workflow waits for people.
func (o *restoreOptions) startOptions(orgID string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:        runbook.RestoreWorkflowID(o.id),
		TaskQueue: o.queue(),
		// A restore that was cancelled or terminated is taken up again under its own id.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// Without it a second start of the same id would silently be handed the first one's run.
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            o.summary(orgID),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID).ValueSet(o.id),
		),
	}
}

func (o *restoreOptions) summary(orgID string) string {
	if orgID == "" {
		return fmt.Sprintf("Roll call %s of all organisations", o.id)
	}
	return fmt.Sprintf("Roll call %s of organisation %s", o.id, o.org)
}
