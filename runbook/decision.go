package runbook

import (
	"strings"
	"time"
)

const (
	// AskAgainAfter is how long a resume that Flight Control was asked for is left alone before it is asked again.
	AskAgainAfter = 20 * time.Second
	// renderedWithin is how long Flight Control has to render a device that it has resumed: it does so within a second,
	// and never where it died between the resume and its events, or where it cannot render the spec.
	renderedWithin = time.Minute
	// repairedWithin is how long it has at most: each repair in vain doubles the time until the next one.
	repairedWithin = 30 * time.Minute
)

// patience is how long Flight Control has to render a device that was paused and resumed so often already.
func patience(repairs int) time.Duration {
	within := renderedWithin
	for ; repairs > 0 && within < repairedWithin; repairs-- {
		within *= 2
	}
	return min(within, repairedWithin)
}

// SpecInvalid is what Flight Control says of a spec that it cannot render, as it can be kept and shown: on one line,
// and cut to 500 characters.
func SpecInvalid(message string) string {
	return storable(strings.Join(strings.Fields(message), " "), 500)
}

// Decision is a human's resume of a device beside Flight Control, and how far Flight Control has come with it.
type Decision struct {
	// State is the device's, by its annotations.
	State State
	// About is the reported version that the human decided about, and Reported what the device reports now, both in the
	// stored form.
	About    string
	Reported string
	// Before is the version that the device was rendered as last when the human decided, and Rendered that of now.
	Before   string
	Rendered string
	// Asked is how long ago Flight Control was asked to resume the device; nil if never.
	Asked *time.Duration
	// Repairs is how often the device was paused and resumed again for this decision, because it was not rendered.
	Repairs int
	// Theirs reports whether Flight Control's events tell of a resume that is not ours.
	Theirs bool
}

// DecisionStep is what comes next for a Decision.
type DecisionStep string

// The steps.
const (
	// StepWait waits for Flight Control or the device.
	StepWait DecisionStep = "wait"
	// StepAsk asks Flight Control to resume the device.
	StepAsk DecisionStep = "ask"
	// StepVoid drops the decision: the conflict that the human saw is over, and they have to look again.
	StepVoid DecisionStep = "void"
	// StepRepair pauses the device again, so that it can be resumed again: Flight Control has resumed it and not rendered
	// it.
	StepRepair DecisionStep = "repair"
	// StepBelow drops the decision and pauses the device again: it was rendered as a version that its agent ignores.
	StepBelow DecisionStep = "below"
	// StepDone ends the conflict (T4): the device has reported the version that was rendered for it.
	StepDone DecisionStep = "done"
	// StepTheirs ends the conflict (T4) by a resume that was not ours.
	StepTheirs DecisionStep = "theirs"
)

// Next says what comes next.
func (d Decision) Next() DecisionStep {
	switch d.State {
	case StateAwaitingReconnect:
		return StepVoid
	case StateConflictPaused:
		switch {
		case d.Reported != d.About:
			return StepVoid
		case d.Asked == nil || *d.Asked >= AskAgainAfter:
			return StepAsk
		}
		return StepWait
	}
	if d.Asked == nil || d.Theirs {
		return StepTheirs
	}
	return d.rendered()
}

// Unrenderable is the refusal of a resume of a device whose rendered version Flight Control cannot read.
func Unrenderable(name, rendered string) *Refusal {
	return Refuse(CodeInvalidVersion,
		"Flight Control cannot read %q, the version that it rendered device %s as last, and never renders it again: delete "+
			"the device (`flightctl delete device/%s`), so that its agent enrolls again", rendered, name, name)
}

// Release is a device on the roll that Flight Control has compared at its poll.
type Release struct {
	// State is the device's, by its annotations.
	State State
	// Rendered reports whether Flight Control has rendered the device since it was due. Flight Control renders no device
	// that waits, and does not make up for it at T2. So one whose request was approved after the restore was never
	// rendered, and one whose spec was changed while it waited is still rendered by the old one.
	Rendered bool
	// Asked is how long ago the device was paused for Flight Control to resume it, and so to render it; nil if never.
	Asked *time.Duration
}

// Next says what comes next: StepDone is that the roll follows the device, StepRepair that the device is paused so that
// it can be resumed, and StepAsk that Flight Control is asked to resume it. A device that was resumed and is not
// rendered within a minute is followed all the same: its spec cannot be rendered, which is a human's to see.
func (r Release) Next() DecisionStep {
	switch {
	case r.State == StateAwaitingReconnect:
		return StepWait
	case r.Asked != nil && r.State == StateConflictPaused: // we have paused it, though it may have been rendered meanwhile
		return StepAsk
	case r.Rendered, r.State == StateConflictPaused:
		return StepDone
	case r.Asked == nil:
		return StepRepair
	case *r.Asked < renderedWithin:
		return StepWait
	}
	return StepDone
}

// rendered is what comes next for a device that was resumed for us. A version that cannot be read counts as 0.
func (d Decision) rendered() DecisionStep {
	about, _ := ParseVersion(d.About)
	before, _ := ParseVersion(d.Before)
	rendered, _ := ParseVersion(d.Rendered)
	reported, _ := ParseVersion(d.Reported)
	switch {
	case rendered > about && reported >= rendered:
		return StepDone
	case rendered > about:
		return StepWait
	case rendered > before:
		return StepBelow
	case *d.Asked >= patience(d.Repairs):
		return StepRepair
	}
	return StepWait
}
