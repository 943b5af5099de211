package runbook

// Transition names a row of the specification's table.
type Transition string

// The transitions of a device, and the entries of the audit that are no row of it.
const (
	T1 Transition = "T1" // a restore starts
	T2 Transition = "T2" // the device reports nothing newer than the restored version
	T3 Transition = "T3" // the device reports a newer version
	T4 Transition = "T4" // a human resumes it
	T5 Transition = "T5" // it is deleted or decommissioned
	T6 Transition = "T6" // a newer restore takes over

	// Reported is a paused device that reports again: it stays paused, and what it reports becomes what a resume renders
	// past.
	Reported Transition = "Reported"
	// Decided is a human's resume that Flight Control has yet to carry out: the device stays paused until it has (T4).
	// Dropped is one that does not count any more, and Repaired a device that was resumed and not rendered, and is
	// resumed again.
	Decided  Transition = "Decided"
	Dropped  Transition = "Dropped"
	Repaired Transition = "Repaired"
	// Approved and Denied are decisions about an enrollment request that put no device on a roll; one that does is T1.
	Approved Transition = "Approved"
	Denied   Transition = "Denied"
	// Deleted is an enrollment request that Flight Control has deleted, or that was found to be gone.
	Deleted Transition = "Deleted"
	// Acted is what a person did about a restore or a plan; it moves no device by itself.
	Acted Transition = "Acted"
	// Refused is a message that was refused; the device stays where it is.
	Refused Transition = "Refused"
)

// Reasons of events, Flight Control's own words.
const (
	ReasonSystemRestored         = "SystemRestored"
	ReasonDeviceConnected        = "DeviceConnected"
	ReasonDeviceVersionUnread    = "DeviceVersionUnreadable"
	ReasonDeviceConflictPaused   = "DeviceConflictPaused"
	ReasonDeviceConflictResolved = "DeviceConflictResolved"
	ReasonDeviceDecommissioned   = "DeviceDecommissioned"
	ReasonEnrollmentApproved     = "EnrollmentRequestApproved"
	ReasonResourceCreated        = "ResourceCreated"
	ReasonResourceUpdated        = "ResourceUpdated"
	ReasonResourceDeleted        = "ResourceDeleted"
)
