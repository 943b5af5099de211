package activities

import (
	"context"

	"rollcall/enrollment"
	"rollcall/inventory"
)

// Activities holds what the activities need; its exported methods are the activities, registered under their names.
type Activities struct {
	// Inventory is the database of devices and of the audit.
	Inventory *inventory.Store
	// Temporal is where the inventory watch sends its signals.
	Temporal Signaller
	// Starter starts the workflows of enrollment requests.
	Starter enrollment.Starter
}

// Signaller is what the inventory watch needs of a Temporal client.
type Signaller interface {
	SignalWorkflow(ctx context.Context, workflowID, runID, signalName string, arg any) error
}
