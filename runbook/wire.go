package runbook

import (
	"slices"
	"strings"
	"time"
)

// The names below are on the wire and in histories that are weeks old: a change to one is a change of contract.

// DefaultTaskQueue is the task queue that workers poll unless told otherwise.
const DefaultTaskQueue = "rollcall"

// Names of workflow types.
const (
	RestoreWorkflowName = "RestoreWorkflow"
	BatchWorkflowName   = "BatchWorkflow"
	DeviceWorkflowName  = "DeviceWorkflow"
)

// Names of signals, updates and queries.
const (
	SignalReconnect = "reconnect" // DeviceWorkflow: the device has reported (ReconnectSignal)
	SignalResume    = "resume"    // DeviceWorkflow: a human's decision (ResumeRequest), without an answer
	UpdateResume    = "resume"    // DeviceWorkflow: the same with an answer (ResumeDecision)
	SignalWithdraw  = "withdraw"  // DeviceWorkflow: the device was deleted or decommissioned (WithdrawSignal)
	SignalLook      = "look"      // another hand has moved the device or decided the request in the database (LookSignal)
	UpdateReconnect = "reconnect" // DeviceWorkflow: a person's report (ReconnectRequest) with an answer (DeviceAnswer)
	UpdateWithdraw  = "withdraw"  // DeviceWorkflow: a person's withdrawal (WithdrawRequest) with an answer (DeviceAnswer)
	QueryState      = "state"     // DeviceWorkflow: DeviceStatus

	// RestoreWorkflow: who cancels it and why (CancelSignal), before the cancellation itself
	SignalCancel     = "cancel"
	SignalSuperseded = "superseded" // RestoreWorkflow: a newer restore has taken over (SupersededSignal)
	// RestoreWorkflow: the restore that it superseded has ended all its waits (PredecessorEndedSignal)
	SignalPredecessorEnded = "predecessor-ended"
	// RestoreWorkflow: a batch has asked for the workflow of each of its devices (BatchCalledSignal)
	SignalBatchCalled = "batch-called"
	QueryTally        = "tally" // RestoreWorkflow: RestoreProgress
)

// Names of search attributes, all of type Keyword.
const (
	AttributeDeviceStatus = "DeviceStatus" // a State
	AttributeDeviceName   = "DeviceName"
	AttributeFleet        = "Fleet" // the name of the owning fleet, or empty
	AttributeRestoreID    = "RestoreId"
)

// SearchAttributes lists the names of all of them.
var SearchAttributes = []string{AttributeDeviceStatus, AttributeDeviceName, AttributeFleet, AttributeRestoreID}

// RestoreInput starts a RestoreWorkflow.
type RestoreInput struct {
	RestoreID string `json:"restoreId"`
	// OrgID limits the restore to one organisation, by its UUID; empty is all of them.
	OrgID string `json:"orgId,omitempty"`
	// Supersede lets the restore take over from those that still run (T6); without it they are a reason to refuse.
	Supersede bool `json:"supersede,omitempty"`
	// By is recorded as who started it where the Temporal server has recorded no caller and As is empty.
	By string `json:"by,omitempty"`
	// As is who they say that they are. Where the server has recorded another caller, the restore is refused.
	As string `json:"as,omitempty"`
	// All puts devices on the roll, too, that came back to a live Flight Control before the restore opened.
	All bool `json:"all,omitempty"`
	// BatchSize is how many devices one parent workflow holds; 0 is DefaultBatchSize.
	BatchSize int `json:"batchSize,omitempty"`
	// BatchesAtOnce is how many parent workflows call their devices at a time; see the function of that name.
	BatchesAtOnce int `json:"batchesAtOnce,omitempty"`
	// WatchInterval is how often the inventory watch looks, in the form of ParseWatchInterval; empty is
	// DefaultWatchInterval, "0" is no watch.
	WatchInterval string `json:"watchInterval,omitempty"`
}

// BatchInput starts a BatchWorkflow, which starts the workflows of a part of a restore's roll.
type BatchInput struct {
	RestoreID string `json:"restoreId"`
	Number    int    `json:"number"`
	// Slice is the part of the roll, where a restore of an earlier release has divided it.
	Slice Slice `json:"slice"`
	// Size is how many devices the batch claims, wave after wave; 0 is a batch with a slice.
	Size int `json:"size,omitempty"`
	// TakenUp reports whether the restore was there before, so that its devices may have a story already.
	TakenUp bool `json:"takenUp,omitempty"`
}

// BatchCalledSignal tells a restore which of its batches has asked for all its devices, so that the next one can begin.
type BatchCalledSignal struct {
	Number int `json:"number"`
}

// BatchResult is what a BatchWorkflow ends with.
type BatchResult struct {
	// Ended is the number of its devices that ended, by outcome.
	Ended map[Outcome]int `json:"ended"`
	// Claimed reports whether the batch has claimed its devices. A worker of an earlier release does not.
	Claimed bool `json:"claimed,omitempty"`
}

// DeviceInput starts a DeviceWorkflow in the state that the database says.
type DeviceInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// Fleet is the name of the owning fleet, or empty.
	Fleet string `json:"fleet,omitempty"`
	State State  `json:"state"`
	// Restored is the restored version as the database holds it, readable or not; Reported is the last reported one.
	Restored string `json:"restored"`
	Reported string `json:"reported,omitempty"`
	// Since is when the device came into State.
	Since time.Time `json:"since"`
	// Noted is the device's first report, where it came before its workflow started; empty is none. Look has the workflow
	// look first where the database has the device. Both count while State is AwaitingReconnect.
	Noted string `json:"noted,omitempty"`
	Look  bool   `json:"look,omitempty"`
	// Mode is that of the restore; empty is ModeStandalone.
	Mode Mode `json:"mode,omitempty"`
	// TellRestore has the workflow tell its restore when it ends, as one that is no child of it must.
	TellRestore bool `json:"tellRestore,omitempty"`
	// ReadStory has the workflow begin with the story that the audit has of the device in this restore: an earlier
	// workflow of the device has ended without an outcome.
	ReadStory bool `json:"readStory,omitempty"`
	// Carried is what a run that continues as new hands to the next; nil for a first run.
	Carried *Carried `json:"carried,omitempty"`
}

// Carried is what a DeviceWorkflow hands on when it continues as new, so that its story has no gap.
type Carried struct {
	Timeline []TimelineEntry `json:"timeline"`
	Dropped  int             `json:"dropped"`
}

// DeviceResult is what a DeviceWorkflow ends with.
type DeviceResult struct {
	Outcome  Outcome `json:"outcome"`
	Restored string  `json:"restoredVersion"`
	Reported string  `json:"reportedVersion,omitempty"`
	// Next is the version that a resume renders; empty for other outcomes.
	Next   string `json:"nextVersion,omitempty"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ReconnectSignal says which version a device runs.
type ReconnectSignal struct {
	RenderedVersion string `json:"renderedVersion"`
	// Agent reports whether the device's own agent says so, as the gateway has heard it.
	Agent bool `json:"agent,omitempty"`
	// By is the person who says so, and Reason why; both are empty where the agent does.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	Origin
}

// ActorAgent is the actor of what a device's agent reports.
const ActorAgent = "agent"

// Reporter is who reports: the agent, a person, or empty where the message does not say.
func (r ReconnectSignal) Reporter() string {
	if r.Agent {
		return ActorAgent
	}
	return r.By
}

// Check reports, as a *Refusal, what keeps the report from being read: it is the agent's and a person's, a person takes
// the agent's name, or a text cannot be stored. What is no version is refused later, with the device's state.
func (r ReconnectSignal) Check() error {
	if r.Agent && (r.By != "" || r.Decision != "") || r.By == ActorAgent {
		return Refuse(CodeInvalidRequest,
			"a report is the agent's or a person's: a person gives a name in \"by\" that is not %q, and leaves \"agent\" out",
			ActorAgent)
	}
	if err := r.Origin.check(); err != nil {
		return err
	}
	return checkTexts(r.By, r.Reason)
}

// ResumeRequest is a human's decision about a conflict (T4).
type ResumeRequest struct {
	// By is who decides; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// ExpectVersion is the reported version that the human looked at; empty is no expectation.
	ExpectVersion string `json:"expectVersion,omitempty"`
	// Plan is the id of the plan that the decision comes from, or empty. It is checked in the database.
	Plan string `json:"plan,omitempty"`
	Origin
}

// UnmarshalJSON reads a request strictly: a mistyped field name would otherwise be a guard that is silently gone. The
// update is decoded by the SDK, so the type itself has to be strict.
func (r *ResumeRequest) UnmarshalJSON(text []byte) error {
	type plain ResumeRequest
	return decodeObject(text, (*plain)(r))
}

// Check reports whether the request can be read at all: it names who decides, what it expects is a version, and its
// texts can be stored. Otherwise a *Refusal (CodeInvalidRequest, CodeInvalidVersion). Whether it may count is
// MayResume's to say.
func (r ResumeRequest) Check() error {
	if strings.TrimSpace(r.By) == "" {
		return Refuse(CodeInvalidRequest,
			"the resume does not say who decides: set \"by\", as in {\"by\":\"alice\",\"reason\":\"checked on site\"}")
	}
	if err := r.Origin.check(); err != nil {
		return err
	}
	if err := checkTexts(r.By, r.Reason, r.Plan); err != nil {
		return err
	}
	_, err := ParseVersion(r.ExpectVersion)
	return err
}

// ResumeDecision answers a ResumeRequest.
type ResumeDecision struct {
	Accepted bool   `json:"accepted"`
	Name     string `json:"name"`
	State    State  `json:"state"`
	Restored string `json:"restoredVersion"`
	Reported string `json:"reportedVersion"`
	// Next is the version that is rendered next; empty where refused.
	Next string `json:"nextVersion,omitempty"`
	// By, Reason and At are those of the decision that stands: this one, or where Code is AlreadyResumed the other.
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	At     *time.Time `json:"at,omitempty"`
	// Code and Message say why it was refused; empty where accepted.
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// WithdrawSignal says that a device was deleted or decommissioned (T5). All its fields may be left out.
type WithdrawSignal struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Force is a human's word that the device never comes back, where the inventory still holds it.
	Force bool `json:"force,omitempty"`
	// Decommission has a Flight Control that runs beside the restore decommission the device first: DecommissionUnenroll
	// or DecommissionFactoryReset. Empty is not to.
	Decommission string `json:"decommission,omitempty"`
	Origin
}

// The targets of WithdrawSignal.Decommission, Flight Control's own words.
const (
	DecommissionUnenroll     = "Unenroll"
	DecommissionFactoryReset = "FactoryReset"
)

// Check reports as a *Refusal what keeps the withdrawal from being carried out: a text that cannot be stored, or a
// target that there is not.
func (w WithdrawSignal) Check() error {
	if err := w.Origin.check(); err != nil {
		return err
	}
	switch w.Decommission {
	case "", DecommissionUnenroll, DecommissionFactoryReset:
		return checkTexts(w.By, w.Reason)
	}
	return Refuse(CodeInvalidRequest, "decommission %s is neither %s nor %s", quoteShort(w.Decommission),
		DecommissionUnenroll, DecommissionFactoryReset)
}

// LookSignal says that the device stands elsewhere in the database than where its workflow has put it. It tells nothing
// more: what counts is what the database says when the signal is read.
type LookSignal struct{}

// CancelSignal says who cancels a restore and why.
type CancelSignal struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	Origin
}

// Check reports whether the cancellation's texts can be stored; otherwise a *Refusal.
func (c CancelSignal) Check() error {
	if err := c.Origin.check(); err != nil {
		return err
	}
	return checkTexts(c.By, c.Reason)
}

// SupersededSignal tells a restore that a newer one has taken over.
type SupersededSignal struct {
	ByRestoreID string `json:"byRestoreId"`
}

// PredecessorEndedSignal tells a restore that one which it superseded waits for nothing any more.
type PredecessorEndedSignal struct {
	RestoreID string `json:"restoreId"`
}

// DeviceStatus answers QueryState.
type DeviceStatus struct {
	RestoreID string    `json:"restoreId"`
	OrgID     string    `json:"orgId"`
	Name      string    `json:"name"`
	Fleet     string    `json:"fleet,omitempty"`
	State     State     `json:"state"`
	Restored  string    `json:"restoredVersion"`
	Reported  string    `json:"reportedVersion"`
	Since     time.Time `json:"waitingSince"`
	Outcome   Outcome   `json:"outcome,omitempty"`
	// Timeline is every message accepted or refused, oldest first; the same message again is counted, and of a very long
	// story the oldest entries are dropped (Dropped says how many) after they were written to the database.
	Timeline []TimelineEntry `json:"timeline"`
	Dropped  int             `json:"dropped,omitempty"`
}

// EndedBy returns who ended the wait, and why; empty where the device's agent did.
func (s DeviceStatus) EndedBy() (by, reason string) {
	for _, entry := range slices.Backward(s.Timeline) {
		if !entry.Accepted || entry.To != s.State {
			continue
		}
		if entry.By == ActorAgent {
			break
		}
		return entry.By, entry.Reason
	}
	return "", ""
}

// TimelineEntry is one message of a device's story, or a transition that no message caused.
type TimelineEntry struct {
	At time.Time `json:"at"`
	// Message is the name of the signal or update.
	Message    string     `json:"message"`
	Accepted   bool       `json:"accepted"`
	Transition Transition `json:"transition,omitempty"`
	From       State      `json:"from"`
	To         State      `json:"to"`
	// Version is the version that the message reported or expected.
	Version string `json:"version,omitempty"`
	// By is who acted: a person, ActorAgent, or a service, with how a person is known and through what they acted.
	By       string   `json:"by,omitempty"`
	Identity Identity `json:"identity,omitempty"`
	Via      Via      `json:"via,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Code     Code     `json:"code,omitempty"`
	Why      string   `json:"why,omitempty"`
	// Times is how often the same message came in a row; 0 and 1 are once.
	Times int `json:"times,omitempty"`
}

// The phases of a restore, in their order, as RestoreProgress and the web UI show them.
const (
	PhaseOpening  = "opening the restore"
	PhaseTakeOver = "waiting for the superseded restore to end"
	PhaseRoll     = "putting devices on the roll"
	PhaseWaiting  = "waiting for devices"
	PhaseClosing  = "closing the restore"
	PhaseEnded    = "ended"
)

// RestoreProgress answers QueryTally. It says what the workflow waits for; the tally of devices is the database's.
type RestoreProgress struct {
	RestoreID string       `json:"restoreId"`
	State     RestoreState `json:"state"`
	// Phase is one of the Phase constants.
	Phase string `json:"phase"`
	Total int64  `json:"total"`
	// Ended is the number of devices that have ended, by outcome, as far as this workflow has heard.
	Ended map[Outcome]int `json:"ended"`
	// Called is how many devices have had their workflow asked for; more may have had it. Nil is not known: workers of
	// earlier releases do not say. Claims reports whether the batches claim devices, and the roll says who was called;
	// otherwise they are called in the order of the roll.
	Called *int64 `json:"called,omitempty"`
	Claims bool   `json:"claims,omitempty"`
	// CalledBatches are the numbers of the batches that have asked for the workflow of each device that they had claimed,
	// in their order. Nil is not known: workers of earlier releases do not say.
	CalledBatches []int `json:"calledBatches,omitzero"`
	// Stopping reports whether the roll call was told to end: the workflows of its devices end, and the database holds it
	// open until they have.
	Stopping bool `json:"stopping,omitempty"`
	// RefusedSignal is nil where none was.
	RefusedSignal *RefusedSignal `json:"refusedSignal,omitempty"`
}

// RefusedSignal is the signal that a restore's or a plan's workflow has refused last. Temporal takes every signal, and
// tells its sender nothing.
type RefusedSignal struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
	// Times is how many signals the workflow has refused in all.
	Times int `json:"times"`
}

// Then is the signal that was refused after r, which may be nil.
func (r *RefusedSignal) Then(name string, at time.Time, refusal *Refusal) *RefusedSignal {
	next := &RefusedSignal{Name: Storable(name), At: at, Why: refusal.Storable().Message, Times: 1}
	if r != nil {
		next.Times += r.Times
	}
	return next
}

// HasCalled reports whether the workflow of a device has been asked for, as far as the restore knows: one is missing
// where there is none. seq is the device's number on the roll, and batch the one that has claimed it, or nil. A device
// of a restore that was taken up again is claimed before its batch begins. Those who joined late are called by others.
func (p RestoreProgress) HasCalled(seq int64, batch *int) bool {
	switch {
	case p.Called == nil:
		return p.Phase == PhaseWaiting
	case p.Claims && *p.Called < p.Total && p.CalledBatches != nil:
		return batch != nil && (*batch == LateBatch || slices.Contains(p.CalledBatches, *batch))
	case p.Claims:
		return batch != nil || *p.Called >= p.Total
	}
	return seq < *p.Called || seq >= p.Total && p.Phase == PhaseWaiting
}
