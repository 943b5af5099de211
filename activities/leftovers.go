package activities

import (
	"context"
	"fmt"

	"rollcall/runbook"
)

// CancelLeftovers ends the waits of the devices of a restore that was cancelled and that are not its children, because
// they joined late or were started by the inventory watch. It cancels nothing of a restore that still runs, whoever
// asks.
func (a *Activities) CancelLeftovers(ctx context.Context, in RestoreRef) error {
	defer heartbeats(ctx)()
	state, err := a.Inventory.RestoreStateOf(ctx, in.RestoreID)
	if err != nil || state == runbook.RestoreRunning || a.Workflows == nil {
		return asActivityError(err)
	}
	m := reconciler{watch: newWatch(a, in.RestoreID), workflows: a.Workflows}
	running, err := m.running(ctx)
	if err != nil {
		return fmt.Errorf("list the workflows of restore %s: %w", in.RestoreID, err)
	}
	for id := range running {
		if err := a.Workflows.CancelWorkflow(ctx, id, ""); err != nil && !isNotFound(err) {
			return fmt.Errorf("cancel %s: %w", id, err)
		}
	}
	return nil
}
