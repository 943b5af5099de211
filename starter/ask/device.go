package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// SendTimeout bounds how long a signal may take. Temporal keeps a signal whether or not a worker runs, so that more
// than a moment means that Temporal itself is in trouble.
const SendTimeout = 10 * time.Second

// NoWorkerTimeout is how long an answer is waited for where no worker polls: one may have just been started.
const NoWorkerTimeout = 500 * time.Millisecond

// IsNotFound reports whether Temporal answered that there is no such workflow, or none that runs.
func IsNotFound(err error) bool {
	var missing *serviceerror.NotFound
	return errors.As(err, &missing)
}

// starting says that a restore is still starting the workflows of its devices, and how far it is; empty where it is
// not, or where that is not known.
func starting(ctx context.Context, c client.Client, restoreID string) string {
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	var p runbook.RestoreProgress
	if err := Query(ctx, c, runbook.RestoreWorkflowID(restoreID), runbook.QueryTally, &p); err != nil {
		return ""
	}
	switch {
	case p.Phase == runbook.PhaseOpening, p.Phase == runbook.PhaseTakeOver, p.Phase == runbook.PhaseRoll:
		return fmt.Sprintf("restore %s has not begun to start the workflows of its devices yet (%s): try again in a moment",
			restoreID, p.Phase)
	case p.Called != nil && *p.Called < p.Total:
		return fmt.Sprintf("restore %s is still starting the workflows of its devices (%d of %d): try again in a moment",
			restoreID, *p.Called, p.Total)
	}
	return ""
}

// NoWorkflow is the answer where no workflow waits for a device: CodeNotFound where there is no such device,
// else CodeNoRollCall with where it stands, and who resumed it last.
func NoWorkflow(
	ctx context.Context, c client.Client, store *inventory.Store, orgID, name string,
) *runbook.Refusal {
	position, err := PositionOf(ctx, store, orgID, name)
	switch {
	case err != nil:
		return runbook.Refuse(runbook.CodeNoRollCall, "no roll call waits for device %q (%v)", name, err)
	case position == nil:
		return runbook.Refuse(runbook.CodeNotFound,
			"there is no device %q in organisation %s, and no roll call waits for one%s", name, runbook.OrgName(orgID),
			aliasOf(ctx, store, orgID, name))
	}
	refusal := runbook.Refuse(runbook.CodeNoRollCall, "no roll call waits for device %q: it is %s%s", name, position.State,
		lastDecision(ctx, store, orgID, name))
	switch {
	case position.WaitsOnRoll():
		if still := starting(ctx, c, position.RestoreID); still != "" {
			refusal.Message += "; " + still
			return refusal
		}
		refusal.Message += fmt.Sprintf("; if restore %s has stopped, take it up again with `%s`", position.RestoreID,
			TakeUp(position.RestoreID))
	case position.State.Open():
		refusal.Message += "; no restore runs that has it on its roll: start one with `starter restore`, or take a " +
			"cancelled one up again with `starter restore --id RESTORE`"
	}
	return refusal
}

// aliasOf says for people whose alias a name is, as no decision goes by an alias; empty where it is none.
func aliasOf(ctx context.Context, store *inventory.Store, orgID, name string) string {
	names, err := store.NamesOf(ctx, orgID, name)
	if err != nil || len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; it is the alias of %s: a decision goes by the device's name", strings.Join(names, ", "))
}

// PositionOf reads the state of a device. It returns nil where there is no such device.
func PositionOf(ctx context.Context, store *inventory.Store, orgID, name string) (*inventory.DevicePosition, error) {
	found, err := store.Position(ctx, inventory.Query{OrgID: orgID, Names: []string{name}})
	if err != nil {
		return nil, fmt.Errorf("read device %q: %w", name, err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// TakeUp is the command that takes a restore up again.
func TakeUp(restoreID string) string { return printer.Command("", "restore", "--id", restoreID) }
