package inventory

import (
	"time"

	"rollcall/runbook"
)

// ActorService is the actor of what Rollcall does by itself.
const ActorService = "service:rollcall"

// ActorFlightctl is the actor of what Flight Control has done to a device, and the roll call only follows.
const ActorFlightctl = "service:flightctl"

// Transitioned says what a message did to a device and where the device stands now.
type Transitioned struct {
	// Applied tells that this message, or the same request before, moved the device or was stored. It is false where there
	// was nothing to do, and where Refusal says why not.
	Applied bool `json:"applied"`
	// Transition is what happened: by this message, or, for a device that had left the roll call already, what ended it.
	// Empty where a message changed nothing.
	Transition runbook.Transition `json:"transition,omitempty"`
	State      runbook.State      `json:"state,omitempty"`
	Restored   string             `json:"restoredVersion,omitempty"`
	Reported   string             `json:"reportedVersion,omitempty"`
	// Next is the version that a resume renders.
	Next string `json:"nextVersion,omitempty"`
	// Updated is the status.updated.status that a reconnect wrote.
	Updated string    `json:"updated,omitempty"`
	At      time.Time `json:"at,omitzero"`
	// By and Reason are a human's; of a resume that came second they are those of the one that won.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
}

// target names a device's row on a restore's roll.
type target struct {
	RestoreID string `db:"restore_id"`
	OrgID     string `db:"org_id"`
	Name      string `db:"name"`
}
