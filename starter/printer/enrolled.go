package printer

import (
	"fmt"
	"io"
	"strings"

	"rollcall/inventory"
	"rollcall/runbook"
)

// EnrollReport is what `approve -o json` and `deny -o json` print, and what their text is made of.
type EnrollReport struct {
	// Matched is the number of requests that were to be asked: those decided, refused, unknown and not asked.
	Matched int `json:"matched"`
	// Approved is there for approve, Denied for deny; none is an empty list.
	Approved *[]string `json:"approved,omitempty"`
	Denied   *[]string `json:"denied,omitempty"`
	Outcomes
	// Skipped is the number of requests that a selector matched but that were decided before.
	Skipped int `json:"skipped"`
	// DifferentKey are the pending requests that a selector matched but that were passed over, because their key is not
	// the one known under their name.
	DifferentKey []string            `json:"differentKey,omitempty"`
	DryRun       bool                `json:"dryRun,omitempty"`
	WouldApprove []PlannedEnrollment `json:"wouldApprove,omitempty"`

	verb string
	// keys are the fingerprints of the requests that were to be asked, by name.
	keys map[string]string
	// done are the decisions that stand, in the order in which the requests were asked.
	done []runbook.EnrollmentDecision
}

// PlannedEnrollment is what an approval would do.
type PlannedEnrollment struct {
	Name        string           `json:"name"`
	DeviceState runbook.State    `json:"deviceState"`
	Key         runbook.KeyMatch `json:"key"`
}

// NewEnrollReport begins a report without answers; left is what is not asked.
func NewEnrollReport(deny bool, left LeftOut) *EnrollReport {
	r := &EnrollReport{Skipped: left.Decided, DifferentKey: left.DifferentKey, Outcomes: newOutcomes(), verb: "approved"}
	if deny {
		r.verb, r.Denied = "denied", &[]string{}
	} else {
		r.Approved = &[]string{}
	}
	return r
}

// Add puts the answer of one request into the report.
func (r *EnrollReport) Add(name string, answer runbook.EnrollmentDecision) {
	r.Matched++
	if !answer.Accepted {
		r.add(name, answer.Code, answer.Message)
		return
	}
	list := r.Approved
	if list == nil {
		list = r.Denied
	}
	*list = append(*list, name)
	r.done = append(r.done, answer)
}

// Plan puts into the report what the rules say now about an approval that no one asks for.
func (r *EnrollReport) Plan(targets []inventory.EnrollmentPosition) {
	r.DryRun = true
	for _, e := range targets {
		if refusal := runbook.AsRefusal(runbook.MayApprove(e.Enrollment, e.Name)); refusal != nil {
			r.Add(e.Name, runbook.EnrollmentDecision{Code: refusal.Code, Message: refusal.Message})
			continue
		}
		r.Matched++
		r.WouldApprove = append(r.WouldApprove, PlannedEnrollment{Name: e.Name, DeviceState: e.Begins, Key: e.Key})
	}
}

// ExitCode is the contract with scripts, as for resume.
func (r *EnrollReport) ExitCode() int {
	return r.exitCode(len(r.done)+len(r.WouldApprove), runbook.CodeNotFound)
}

// Text writes the report for people.
func (r *EnrollReport) Text(w io.Writer) error {
	for _, d := range r.done {
		fmt.Fprintf(w, "enrollmentrequest/%s: %s%s%s\n", OneLine(d.Name), r.verb, beginning(d.Device, d.RestoreID),
			r.key(d.Name))
	}
	for _, d := range r.WouldApprove {
		fmt.Fprintf(w, "enrollmentrequest/%s: would be approved; its device would begin %s%s\n", OneLine(d.Name),
			d.DeviceState, r.key(d.Name))
	}
	r.text(w, "enrollmentrequest")
	for _, name := range r.DifferentKey {
		fmt.Fprintf(w, "enrollmentrequest/%s: passed over: its key is not the one known under this name; look at it, then "+
			"approve it by name\n", OneLine(name))
	}
	_, err := fmt.Fprintln(w, r.sum())
	return err
}

// SetKeys says which key each request holds.
func (r *EnrollReport) SetKeys(targets []inventory.EnrollmentPosition) {
	r.keys = make(map[string]string, len(targets))
	for _, e := range targets {
		r.keys[e.Name] = e.Fingerprint
	}
}

// key says which key a request holds that is approved.
func (r *EnrollReport) key(name string) string {
	if r.Denied != nil || r.keys[name] == "" {
		return ""
	}
	return "; key " + r.keys[name]
}

// beginning says how an approved device begins.
func beginning(state runbook.State, restoreID string) string {
	switch {
	case restoreID != "":
		return fmt.Sprintf("; its device is %s, on the roll of restore %s", state, restoreID)
	case state != "":
		return fmt.Sprintf("; its device is %s", state)
	}
	return ""
}

func (r *EnrollReport) sum() string {
	var left []string
	if n := len(r.DifferentKey); n > 0 {
		left = append(left, fmt.Sprintf("%s passed over for a different key", Count(n, "request")))
	}
	switch {
	case r.Matched > 0:
	case r.AnsweredBefore > 0:
		return "nothing left to ask" + r.before()
	case r.Skipped+len(r.DifferentKey) == 0:
		return "nothing matched"
	case r.Skipped == 0:
		return "nothing to decide: " + left[0]
	default:
		return strings.Join(append([]string{fmt.Sprintf("nothing to decide: %s matched, none of them pending",
			Count(r.Skipped, "request"))}, left...), "; ")
	}
	verb, done := r.verb, len(r.done)
	if r.DryRun {
		verb, done = "would be approved", len(r.WouldApprove)
	}
	if r.Skipped > 0 {
		left = append(left, fmt.Sprintf("%d more matched but are not pending", r.Skipped))
	}
	asked := fmt.Sprintf("%s asked: %d %s, %s%s", Count(r.Matched-len(r.NotAsked), "request"), done, verb,
		r.Outcomes.summary(), r.before())
	return strings.Join(append([]string{asked}, left...), "; ")
}

// LeftOut is what a selector matches but what is not asked.
type LeftOut struct {
	// Decided is the number of requests that were decided before.
	Decided int
	// DifferentKey are the names of those whose key is not the one known, which need a decision of their own.
	DifferentKey []string
}
