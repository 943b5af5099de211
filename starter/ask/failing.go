package ask

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// WhatFails says what the inventory watch of a restore that runs cannot do at present; empty is nothing. What it cannot
// do beside its polls it says with its heartbeat, and what keeps it from polling is the failure of its last attempt.
func WhatFails(ctx context.Context, c client.Client, restoreID string) string {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	run, err := c.DescribeWorkflowExecution(ctx, runbook.RestoreWorkflowID(restoreID), "")
	if err != nil {
		return ""
	}
	for _, pending := range run.GetPendingActivities() {
		if pending.GetActivityType().GetName() != watchActivity {
			continue
		}
		var progress struct {
			Failing string `json:"failing"`
		}
		_ = converter.GetDefaultDataConverter().FromPayloads(pending.GetHeartbeatDetails(), &progress)
		if pending.GetState() == enums.PENDING_ACTIVITY_STATE_SCHEDULED && pending.GetLastFailure() != nil {
			progress.Failing = pending.GetLastFailure().GetMessage() // it waits for its next attempt
		}
		if progress.Failing != "" {
			return fmt.Sprintf("not everything can be done for restore %s at present, and it is tried again: %s", restoreID,
				progress.Failing)
		}
	}
	return ""
}

// watchActivity is the activity's name in each history.
const watchActivity = "WatchInventory"
