package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
)

// sendTimeout bounds how long a signal may take. Temporal keeps a signal whether or not a worker runs, so that more than
// a moment means that Temporal itself is in trouble.
const sendTimeout = 10 * time.Second

// startInterval is how often a device's workflow that is about to be started is looked for.
const startInterval = 100 * time.Millisecond

// bindOutcomeTimeout is the flag of commands that send a signal, which has no answer, and then look what came of it.
func bindOutcomeTimeout(cmd *cobra.Command, timeout *time.Duration) {
	cmd.Flags().DurationVar(timeout, "timeout", 15*time.Second, "how long to wait for the outcome")
}

// namedDevice is the one device that a command acts on, with the way to its row and to its workflow.
type namedDevice struct {
	orgID, name string
	store       *inventory.Store
	client      client.Client
}

// device connects a command to the device of that name in the organisation of --org. The caller closes it.
func (g *globals) device(ctx context.Context, name string) (*namedDevice, error) {
	store, err := g.openStore(ctx)
	if err != nil {
		return nil, err
	}
	orgID, err := g.orgID(ctx, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	temporal, err := g.dial(ctx)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &namedDevice{orgID: orgID, name: name, store: store, client: temporal}, nil
}

func (d *namedDevice) close() {
	d.client.Close()
	// Nothing was written through the pool that its closing could lose.
	_ = d.store.Close()
}

func (d *namedDevice) workflowID() string { return runbook.DeviceWorkflowID(d.orgID, d.name) }

// startsSoon waits a moment and tells whether a device that has no workflow ought to have one: it is on the roll of a
// restore that runs, which may still be starting the workflows of a large fleet.
func startsSoon(ctx context.Context, store *inventory.Store, orgID, name string) bool {
	standing, err := standingOf(ctx, store, orgID, name)
	if err != nil || standing == nil || standing.RestoreID == "" || !standing.State.Open() {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(startInterval):
		return true
	}
}

// isNotFound tells whether Temporal answered that there is no such workflow, or none that runs.
func isNotFound(err error) bool {
	var missing *serviceerror.NotFound
	return errors.As(err, &missing)
}

// whyNobodyWaits is the answer where no workflow waits for a device: CodeNotFound where there is no such device, else
// CodeNoRollCall with where it stands, and who resumed it last.
func whyNobodyWaits(ctx context.Context, store *inventory.Store, orgID, name string) *runbook.Refusal {
	standing, err := standingOf(ctx, store, orgID, name)
	switch {
	case err != nil:
		return runbook.Refuse(runbook.CodeNoRollCall, "no roll call waits for device %q (%v)", name, err)
	case standing == nil:
		return runbook.Refuse(runbook.CodeNotFound, "there is no device %q in organisation %s, and no roll call waits for one", name, runbook.OrgName(orgID))
	}
	refusal := runbook.Refuse(runbook.CodeNoRollCall, "no roll call waits for device %q: it is %s%s", name, standing.State, lastDecision(ctx, store, orgID, name))
	switch {
	case standing.State.Open() && standing.RestoreID != "":
		refusal.Message += fmt.Sprintf("; if restore %s has stopped, take it up again with `%s`", standing.RestoreID, takeUp(standing.RestoreID))
	case standing.State.Open():
		refusal.Message += "; no restore runs that has it on its roll: start one with `starter restore`, or take a cancelled one up again with `starter restore --id RESTORE`"
	}
	return refusal
}

// standingOf reads where a device stands; nil means that there is no such device.
func standingOf(ctx context.Context, store *inventory.Store, orgID, name string) (*inventory.DeviceStanding, error) {
	found, err := store.Standing(ctx, inventory.Query{OrgID: orgID, Names: []string{name}})
	if err != nil {
		return nil, fmt.Errorf("read device %q: %w", name, err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// takeUp is the command that takes a restore up again.
func takeUp(restoreID string) string { return command("", "restore", "--id", restoreID) }
