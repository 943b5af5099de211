package activities

import (
	"context"
	"sync"

	"rollcall/internal/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// Activities holds what the activities need; its exported methods are the activities, registered under their names.
type Activities struct {
	// Inventory is the database of devices and of the audit.
	Inventory *inventory.Store
	// Temporal is where the inventory watch sends its signals.
	Temporal Signaller
	// Workflows is where the inventory watch looks for workflows that are missing; nil is not at all.
	Workflows Workflows
	// Starter starts the workflows of enrollment requests.
	Starter enrollment.Starter
	// Histories is where the caller of a workflow is read; nil records no one as authenticated.
	Histories Histories
	// Updater asks the devices of a plan.
	Updater Updater
	// Policy is what resumes must satisfy here.
	Policy runbook.ResumePolicy
	// Flightctl is the live Flight Control beside which the worker runs; nil is a worker that stands alone.
	Flightctl FlightControl

	// calls are the calls of Flight Control that are under way for decisions.
	calls calls
	// modes remembers the mode of each restore, which never changes.
	modes sync.Map
}

// Signaller is what the inventory watch needs of a Temporal client.
type Signaller interface {
	SignalWorkflow(ctx context.Context, workflowID, runID, signalName string, arg any) error
}
