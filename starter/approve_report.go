package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"rollcall/inventory"
	"rollcall/runbook"
)

// enrollReport is what `approve -o json` and `deny -o json` print, and what their text is made of.
type enrollReport struct {
	// Matched is the number of requests that were asked, or would be: those decided and those refused.
	Matched int `json:"matched"`
	// Approved is there for approve, Denied for deny; none is an empty list.
	Approved *[]string       `json:"approved,omitempty"`
	Denied   *[]string       `json:"denied,omitempty"`
	Refused  []refusedDevice `json:"refused"`
	// Skipped is the number of requests that a selector matched but that were decided before.
	Skipped int `json:"skipped"`
	// DifferentKey are the pending requests that a selector matched but that were passed over, because their key is not the
	// one known under their name.
	DifferentKey []string            `json:"differentKey,omitempty"`
	DryRun       bool                `json:"dryRun,omitempty"`
	WouldApprove []plannedEnrollment `json:"wouldApprove,omitempty"`

	verb string
	// done are the decisions that stand, in the order in which the requests were asked.
	done []runbook.EnrollmentDecision
}

// plannedEnrollment is what an approval would do.
type plannedEnrollment struct {
	Name        string              `json:"name"`
	DeviceState runbook.State       `json:"deviceState"`
	Key         runbook.KeyStanding `json:"key"`
}

func newEnrollReport(deny bool, left leftOut) *enrollReport {
	r := &enrollReport{Skipped: left.decided, DifferentKey: left.differentKey, Refused: []refusedDevice{}, verb: "approved"}
	if deny {
		r.verb, r.Denied = "denied", &[]string{}
	} else {
		r.Approved = &[]string{}
	}
	return r
}

// add puts the answer of one request into the report.
func (r *enrollReport) add(name string, answer runbook.EnrollmentDecision) {
	r.Matched++
	if !answer.Accepted {
		r.Refused = append(r.Refused, refusedDevice{Name: name, Code: answer.Code, Message: answer.Message})
		return
	}
	list := r.Approved
	if list == nil {
		list = r.Denied
	}
	*list = append(*list, name)
	r.done = append(r.done, answer)
}

// plan puts into the report what the rules say now about an approval that nobody asks for.
func (r *enrollReport) plan(targets []inventory.EnrollmentStanding) {
	r.DryRun = true
	for _, e := range targets {
		err := runbook.MayApprove(e.Enrollment, e.Name)
		if err == nil {
			err = e.BeginsErr
		}
		if refusal := runbook.AsRefusal(err); refusal != nil {
			r.add(e.Name, runbook.EnrollmentDecision{Code: refusal.Code, Message: refusal.Message})
			continue
		}
		r.Matched++
		r.WouldApprove = append(r.WouldApprove, plannedEnrollment{Name: e.Name, DeviceState: e.Begins, Key: e.Key})
	}
}

// exitCode is the contract with scripts, as for resume.
func (r *enrollReport) exitCode() int {
	idle := !slices.ContainsFunc(r.Refused, func(d refusedDevice) bool { return d.Code != runbook.CodeNotFound })
	switch {
	case len(r.done)+len(r.WouldApprove) == 0 && idle:
		return exitNothing
	case len(r.Refused) > 0:
		return exitRefusals
	}
	return exitOK
}

// finish prints the report and ends the command with its exit code.
func (o *enrollOptions) finish(r *enrollReport) error {
	if err := o.output.print(o.io.Stdout, r, r.text); err != nil {
		return err
	}
	if code := r.exitCode(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

func (r *enrollReport) text(w io.Writer) error {
	for _, d := range r.done {
		fmt.Fprintf(w, "enrollmentrequest/%s: %s%s\n", oneLine(d.Name), r.verb, beginning(d.Device, d.RestoreID))
	}
	for _, d := range r.WouldApprove {
		fmt.Fprintf(w, "enrollmentrequest/%s: would be approved; its device would begin %s\n", oneLine(d.Name), d.DeviceState)
	}
	for _, d := range r.Refused {
		fmt.Fprintf(w, "enrollmentrequest/%s: refused (%s): %s\n", oneLine(d.Name), d.Code, oneLine(d.Message))
	}
	for _, name := range r.DifferentKey {
		fmt.Fprintf(w, "enrollmentrequest/%s: passed over: its key is not the one known under this name; look at it, then approve it by name\n", oneLine(name))
	}
	_, err := fmt.Fprintln(w, r.summary())
	return err
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

func (r *enrollReport) summary() string {
	var left []string
	if n := len(r.DifferentKey); n > 0 {
		left = append(left, fmt.Sprintf("%s passed over for a different key", count(n, "request")))
	}
	switch {
	case r.Matched > 0:
	case r.Skipped+len(r.DifferentKey) == 0:
		return "nothing matched"
	case r.Skipped == 0:
		return "nothing to decide: " + left[0]
	default:
		return strings.Join(append([]string{fmt.Sprintf("nothing to decide: %s matched, none of them pending", count(r.Skipped, "request"))}, left...), "; ")
	}
	verb, done := r.verb, len(r.done)
	if r.DryRun {
		verb, done = "would be approved", len(r.WouldApprove)
	}
	if r.Skipped > 0 {
		left = append(left, fmt.Sprintf("%d more matched but are not pending", r.Skipped))
	}
	asked := fmt.Sprintf("%s asked: %d %s, %d refused", count(r.Matched, "request"), done, verb, len(r.Refused))
	return strings.Join(append([]string{asked}, left...), "; ")
}
