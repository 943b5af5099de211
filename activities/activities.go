package activities

import "rollcall/inventory"

// Activities holds what the activities need; its exported methods are the activities, registered under their names.
type Activities struct {
	// Inventory is the database of devices and of the audit.
	Inventory *inventory.Store
	// Starter starts the workflows of enrollment requests.
	Starter WorkflowStarter
}
