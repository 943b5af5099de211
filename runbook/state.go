package runbook

// State is where a device stands in its roll call. The strings are stored, shown and searched for, and are Flight
// Control's own where it has the word.
type State string

// The states of a device on a roll.
const (
	// StateAwaitingReconnect is a device that was restored and has not reported since; its rendering is paused.
	StateAwaitingReconnect State = "AwaitingReconnect"
	// StateConflictPaused is a device that reported a newer version than the restored one; only a human resumes it.
	StateConflictPaused State = "ConflictPaused"
	// StateNormal is a device that is back: compatible, or resumed.
	StateNormal State = "Normal"
	// StateWithdrawn is a device that was deleted or decommissioned while it waited (T5); it has left the roll call.
	StateWithdrawn State = "Withdrawn"
)

// States lists every state in the order in which they are shown.
var States = []State{StateAwaitingReconnect, StateConflictPaused, StateNormal, StateWithdrawn}

// Open reports whether a device in this state still holds its restore open.
func (s State) Open() bool { return s == StateAwaitingReconnect || s == StateConflictPaused }

// OnRoll returns where a device stands that is in state s on the roll of a running restore, and in annotated by its
// annotations. A paused one whose annotation says that it waits again does so, as that is what Flight Control goes by.
// In all else the roll counts: another hand's annotation is no report, and beside Flight Control the roll has not
// followed the comparison yet.
func (s State) OnRoll(annotated State) State {
	if s == StateConflictPaused && annotated.Open() {
		return annotated
	}
	return s
}

// Outcome is how a device's part in a roll call ended.
type Outcome string

// The outcomes of a DeviceWorkflow.
const (
	OutcomeNormal     Outcome = "normal"     // T2: it reported nothing newer than the restored version
	OutcomeResumed    Outcome = "resumed"    // T4: a human resumed it
	OutcomeWithdrawn  Outcome = "withdrawn"  // T5: it was deleted or decommissioned
	OutcomeSuperseded Outcome = "superseded" // T6: a newer restore took over
)

// Outcomes lists every outcome in the order in which they are shown.
var Outcomes = []Outcome{OutcomeNormal, OutcomeResumed, OutcomeWithdrawn, OutcomeSuperseded}

// Annotations of Flight Control's that carry a device's state.
const (
	AnnotationAwaitingReconnect = "device-controller/awaitingReconnect"
	AnnotationConflictPaused    = "device-controller/conflictPaused"
	AnnotationRenderedVersion   = "device-controller/renderedVersion"
	AnnotationRenderedSpecHash  = "device-controller/renderedSpecHash"
	// The version of its fleet's template that a device is to have, which the fleet has as well, and the one that it was
	// rendered by last.
	AnnotationTemplateVersion         = "fleet-controller/templateVersion"
	AnnotationRenderedTemplateVersion = "fleet-controller/renderedTemplateVersion"

	// AnnotationTrue is the one value that makes a state annotation count; any other counts as absent.
	AnnotationTrue = "true"
)

// Values of status.summary.status and status.updated.status that the roll call writes.
const (
	SummaryOnline    = "Online"
	UpdatedUnknown   = "Unknown"
	UpdatedUpToDate  = "UpToDate"
	UpdatedOutOfDate = "OutOfDate"
)

// IneligibleLifecycles are the values of status.lifecycle.status that keep a device off the roll (T1) and that let it
// be withdrawn (T5).
var IneligibleLifecycles = []string{"Decommissioning", "Decommissioned"}

// StateOf reads a device's state from its annotations. Where both are present, AwaitingReconnect wins.
func StateOf(annotations map[string]string) State {
	switch {
	case annotations[AnnotationAwaitingReconnect] == AnnotationTrue:
		return StateAwaitingReconnect
	case annotations[AnnotationConflictPaused] == AnnotationTrue:
		return StateConflictPaused
	default:
		return StateNormal
	}
}

// RestoreState is where a restore stands.
type RestoreState string

// The states of a restore, as `status -o json` prints them.
const (
	RestoreRunning    RestoreState = "Running"
	RestoreCompleted  RestoreState = "Completed"
	RestoreSuperseded RestoreState = "Superseded"
	RestoreCancelled  RestoreState = "Cancelled"
)
