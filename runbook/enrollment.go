package runbook

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// EnrollmentWorkflowName is the type of the workflow of one enrollment request.
const EnrollmentWorkflowName = "EnrollmentWorkflow"

// Names of the signals and updates of an EnrollmentWorkflow; the query is QueryState and is answered with
// EnrollmentStatus.
const (
	SignalApprove = "approve" // a human's decision (ApproveRequest), without an answer
	UpdateApprove = "approve" // the same with an answer (EnrollmentDecision)
	SignalDeny    = "deny"    // a human's decision (DenyRequest), without an answer
	UpdateDeny    = "deny"    // the same with an answer (EnrollmentDecision)

	// SignalLateJoinerEnded tells a RestoreWorkflow that a device which joined late waits no more (LateJoinerEndedSignal).
	SignalLateJoinerEnded = "late-joiner-ended"
)

// ChangeEnrollment is the id under which workflow.GetVersion tells restores that began before there was enrollment from
// those that start a workflow for each pending request.
const ChangeEnrollment = "enrollment"

// EnrollmentWorkflowID is the id of an enrollment request's workflow; orgID is the organisation's UUID.
func EnrollmentWorkflowID(orgID, name string) string {
	return enrollmentPrefix + OrgName(orgID) + "/" + name
}

const enrollmentPrefix = "enrollment/"

// ParseEnrollmentWorkflowID is the inverse of EnrollmentWorkflowID; ok is false where id is of another kind.
func ParseEnrollmentWorkflowID(id string) (orgID, name string, ok bool) {
	return parseID(id, enrollmentPrefix)
}

// IsEnrollmentWorkflowID reports whether an id is that of an enrollment request's workflow.
func IsEnrollmentWorkflowID(id string) bool { return strings.HasPrefix(id, enrollmentPrefix) }

// EnrollmentState is where an enrollment request stands.
type EnrollmentState string

// The states of an enrollment request, and outcomes of its workflow.
const (
	EnrollmentPending  EnrollmentState = "Pending"  // no one has decided
	EnrollmentApproved EnrollmentState = "Approved" // the device is in the inventory
	EnrollmentDenied   EnrollmentState = "Denied"   // a human said no
	EnrollmentGone     EnrollmentState = "Gone"     // the request is no longer in the inventory
)

// EnrollmentInput starts an EnrollmentWorkflow.
type EnrollmentInput struct {
	OrgID string `json:"orgId"`
	Name  string `json:"name"`
	// RestoreID is the restore that found the request; empty for one that arrived otherwise.
	RestoreID string `json:"restoreId,omitempty"`
	// Since is when the workflow began to wait; zero is now. Timeline is what a run that continues as new hands on.
	Since    time.Time       `json:"since,omitzero"`
	Timeline []TimelineEntry `json:"timeline,omitempty"`
}

// ApproveRequest is a human's decision to let a device in.
type ApproveRequest struct {
	// By is who decides; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// Labels are what the device gets beside the labels of its request, and in place of those of the same name.
	Labels map[string]string `json:"labels,omitempty"`
	// ReplaceLabels makes Labels all the labels that the device gets.
	ReplaceLabels bool `json:"replaceLabels,omitempty"`
	// ExpectKey is the fingerprint of the key that the human was shown; empty is no expectation. A request can be posted
	// again with another key while someone decides.
	ExpectKey string `json:"expectKey,omitempty"`
	Origin
}

// Check reports whether the request can be read at all. Otherwise a *Refusal with CodeInvalidRequest.
func (r ApproveRequest) Check() error {
	if err := checkBy(SignalApprove, r.By); err != nil {
		return err
	}
	if err := r.Origin.check(); err != nil {
		return err
	}
	texts := []string{r.By, r.Reason, r.ExpectKey}
	for name, value := range r.Labels {
		texts = append(texts, name, value)
	}
	if err := checkTexts(texts...); err != nil {
		return err
	}
	if _, nameless := r.Labels[""]; nameless {
		return Refuse(CodeInvalidRequest, "a label has no name: use names and values, as in {\"site\":\"berlin\"}")
	}
	return nil
}

// DenyRequest is a human's decision to keep a device out.
type DenyRequest struct {
	// By is who decides; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// Delete has Flight Control delete the request, whose API has no denial. It counts only beside Flight Control.
	Delete bool `json:"delete,omitempty"`
	Origin
}

// Check reports whether the request can be read at all. Otherwise a *Refusal with CodeInvalidRequest.
func (r DenyRequest) Check() error {
	if err := checkBy(SignalDeny, r.By); err != nil {
		return err
	}
	if err := r.Origin.check(); err != nil {
		return err
	}
	return checkTexts(r.By, r.Reason)
}

func checkBy(message, by string) error {
	if strings.TrimSpace(by) == "" {
		return Refuse(CodeInvalidRequest, "the message %q does not say who decides: set \"by\", as in %s", message,
			examples[message])
	}
	return nil
}

// EnrollmentDecision answers an ApproveRequest or a DenyRequest.
type EnrollmentDecision struct {
	// Accepted tells that this decision stands.
	Accepted bool            `json:"accepted"`
	Name     string          `json:"name"`
	State    EnrollmentState `json:"state"`
	// Device is the state in which the device begins; empty unless approved.
	Device State `json:"deviceState,omitempty"`
	// RestoreID is the restore on whose roll the device is; empty where it is on none.
	RestoreID string `json:"restoreId,omitempty"`
	// By, Reason and At are those of the decision that stands, which may be someone else's.
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	At     *time.Time `json:"at,omitempty"`
	// Code and Message say why it was refused; empty where accepted.
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Signal is the signal that asks for such a decision.
func (d EnrollmentDecision) Signal() string {
	if d.State == EnrollmentApproved {
		return SignalApprove
	}
	return SignalDeny
}

// EnrollmentResult is what an EnrollmentWorkflow ends with.
type EnrollmentResult struct {
	Decision EnrollmentDecision `json:"decision"`
	// Device is how the roll call of its device ended; nil where it was on no roll, or its restore ended before it.
	Device *DeviceResult `json:"device,omitempty"`
}

// EnrollmentStatus answers QueryState.
type EnrollmentStatus struct {
	OrgID string `json:"orgId"`
	Name  string `json:"name"`
	// RestoreID is the restore that found the request, and once it is approved the one on whose roll the device is.
	RestoreID string          `json:"restoreId,omitempty"`
	State     EnrollmentState `json:"state"`
	Since     time.Time       `json:"waitingSince"`
	// Decision is the one that stands; nil while the request is pending.
	Decision *EnrollmentDecision `json:"decision,omitempty"`
	// Timeline is every message accepted or refused, oldest first.
	Timeline []TimelineEntry `json:"timeline"`
}

// LateJoinerEndedSignal tells a restore which device waits no more.
type LateJoinerEndedSignal struct {
	OrgID string `json:"orgId"`
	Name  string `json:"name"`
	// Outcome is how its part in the roll call ended, where the sender knows.
	Outcome Outcome `json:"outcome,omitempty"`
}

// Enrollment is what a decision about a request is about, as it is when the decision is read.
type Enrollment struct {
	// Exists tells that there is such a request, DeviceExists that there is a device of its name.
	Exists       bool
	DeviceExists bool
	State        EnrollmentState
	// DecidedBy is who approved or denied it, where that is known.
	DecidedBy string
	// Unsignable is why no certificate can ever be signed of it; nil where one can, or where that is not known.
	Unsignable *Unsignable
}

// MayApprove reports whether a request may be approved: it is there, no one has decided about it, there is no device of
// its name, and a certificate can be signed of it. Otherwise a *Refusal: CodeNotFound, CodeAlreadyApproved,
// CodeAlreadyDenied, CodeDeviceExists or CodeUnsignable.
// A denial stands, because its agent has been told and has given up: a new request is a new decision.
func MayApprove(e Enrollment, name string) error {
	if err := e.open(name); err != nil {
		return err
	}
	if e.DeviceExists {
		return Refuse(CodeDeviceExists,
			"there is a device %s already; nothing was changed: delete it first if it is to be replaced (Flight Control "+
				"deletes the request with it; approve the one that its agent posts next)", name)
	}
	return e.Unsignable.refusal(name)
}

// HalfApproved is the refusal of a request whose device Flight Control has made and whose approval it has not stored.
func HalfApproved(name string) *Refusal {
	return Refuse(CodeDeviceExists,
		"Flight Control made the device %s and did not finish the approval, so that the device has no certificate: delete "+
			"it there (`flightctl delete device/%s`), which deletes the request as well, and approve the one that its agent "+
			"posts when it starts again", name, name)
}

// Unfinished is what is missing of an approval that Flight Control has begun; empty is nothing.
type Unfinished string

const (
	// NoCertificate is a device that was made, and a request whose approval was not stored.
	NoCertificate Unfinished = "NoCertificate"
	// NotRendered is a device that does not wait and was never rendered.
	NotRendered Unfinished = "NotRendered"
)

// Remedy says what is missing and what to do about it; empty where nothing is missing.
func (u Unfinished) Remedy(name string) string {
	switch u {
	case NoCertificate:
		return HalfApproved(name).Message
	case NotRendered:
		return fmt.Sprintf("Flight Control approved it and has not rendered its device: a restore that has the device on "+
			"its roll repairs that; without one, change the spec of device %s, which renders it", name)
	}
	return ""
}

// EnrolledLabels are the labels of a device that is approved, as Flight Control's approval makes them: those that its
// request asks for under those of the approval, or the approval's alone where they replace the others.
func EnrolledLabels(asked, given map[string]string, replace bool) map[string]string {
	labels := map[string]string{}
	if !replace {
		maps.Copy(labels, asked)
	}
	maps.Copy(labels, given)
	return labels
}

// LabelAlias is the label that gives a device its alias.
const LabelAlias = "alias"

// MayDeny reports whether a request may be denied: it is there, and no one has decided about it. Otherwise a *Refusal:
// CodeNotFound, CodeAlreadyApproved or CodeAlreadyDenied.
func MayDeny(e Enrollment, name string) error { return e.open(name) }

func (e Enrollment) open(name string) error {
	switch {
	case !e.Exists:
		return Refuse(CodeNotFound, "there is no enrollment request %s", name)
	case e.State == EnrollmentApproved:
		return Refuse(CodeAlreadyApproved, "enrollment request %s has been approved already%s; nothing was changed", name,
			byWhom(e.DecidedBy))
	case e.State == EnrollmentDenied:
		return Refuse(CodeAlreadyDenied,
			"enrollment request %s has been denied already%s; nothing was changed: delete the request and let the device "+
				"enroll again to decide again", name, byWhom(e.DecidedBy))
	}
	return nil
}

func byWhom(by string) string {
	if by == "" {
		return ""
	}
	return " by " + by
}
