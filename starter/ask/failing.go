package ask

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
	"rollcall/starter/printer"
)

// WhatFails says what cannot be done for a restore at present; empty is nothing. An activity that waits for its next
// attempt says why its last one failed. What the inventory watch cannot do beside its polls it says with its heartbeat.
func WhatFails(ctx context.Context, c client.Client, restoreID string) string {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	run, err := c.DescribeWorkflowExecution(ctx, runbook.RestoreWorkflowID(restoreID), "")
	if err != nil {
		return ""
	}
	for _, pending := range run.GetPendingActivities() {
		var progress struct {
			Failing string `json:"failing"`
		}
		if pending.GetActivityType().GetName() == watchActivity {
			_ = converter.GetDefaultDataConverter().FromPayloads(pending.GetHeartbeatDetails(), &progress)
		}
		if pending.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED && pending.GetLastFailure() != nil {
			progress.Failing = pending.GetLastFailure().GetMessage() // it waits for its next attempt
		}
		if progress.Failing != "" {
			return fmt.Sprintf("not everything can be done for restore %s at present, and it is tried again: %s", restoreID,
				foreign(progress.Failing))
		}
	}
	return ""
}

// pendingFailure is the last failure of an activity that a workflow waits for; empty where there is none, or where that
// is not known.
func pendingFailure(ctx context.Context, c client.Client, workflowID string) string {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	run, err := c.DescribeWorkflowExecution(ctx, workflowID, "")
	if err != nil {
		return ""
	}
	for _, pending := range run.GetPendingActivities() {
		if failure := pending.GetLastFailure(); failure != nil {
			return foreign(failure.GetMessage())
		}
	}
	return ""
}

// maxForeign is how many characters of a failure are shown.
const maxForeign = 500

// foreign is a failure's text as a terminal may get it: it may quote what Flight Control or another program has
// written.
func foreign(text string) string {
	if runes := []rune(text); len(runes) > maxForeign {
		text = string(runes[:maxForeign]) + "…"
	}
	return printer.OneLine(text)
}

// watchActivity is the activity's name in each history.
const watchActivity = "WatchInventory"
