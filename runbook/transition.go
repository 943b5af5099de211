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

	// Reported is a paused device that reports again: it stays paused, and what it reports becomes what a resume renders past.
	Reported Transition = "Reported"
	// Approved and Denied are decisions about an enrollment request that put no device on a roll; one that does is T1.
	Approved Transition = "Approved"
	Denied   Transition = "Denied"
	// Refused is a message that was refused; the device stays where it is.
	Refused Transition = "Refused"
)

// Reasons of events, Flight Control's own words.
const (
	ReasonSystemRestored         = "SystemRestored"
	ReasonDeviceConnected        = "DeviceConnected"
	ReasonDeviceConflictPaused   = "DeviceConflictPaused"
	ReasonDeviceConflictResolved = "DeviceConflictResolved"
	ReasonDeviceDecommissioned   = "DeviceDecommissioned"
	ReasonEnrollmentApproved     = "EnrollmentRequestApproved"
	ReasonResourceCreated        = "ResourceCreated"
	ReasonResourceUpdated        = "ResourceUpdated"
)
