package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"rollcall/inventory"
	"rollcall/runbook"
)

// resumeReport is what `resume -o json` prints, and what its text is made of.
type resumeReport struct {
	// Matched is the number of devices that were asked, or would be: those resumed and those refused.
	Matched int             `json:"matched"`
	Resumed []string        `json:"resumed"`
	Refused []refusedDevice `json:"refused"`
	// Skipped is the number of devices that a selector matched but that were not paused.
	Skipped     int             `json:"skipped"`
	DryRun      bool            `json:"dryRun,omitempty"`
	WouldResume []plannedDevice `json:"wouldResume,omitempty"`

	orgID string
	// done are the decisions on the devices that were resumed, in the order of Resumed.
	done []runbook.ResumeDecision
}

type refusedDevice struct {
	Name    string       `json:"name"`
	Code    runbook.Code `json:"code"`
	Message string       `json:"message"`
}

// plannedDevice is what a resume would do to a device.
type plannedDevice struct {
	Name            string `json:"name"`
	RestoredVersion string `json:"restoredVersion"`
	ReportedVersion string `json:"reportedVersion"`
	NextVersion     string `json:"nextVersion"`
}

func newResumeReport(orgID string, skipped int) *resumeReport {
	return &resumeReport{orgID: orgID, Skipped: skipped, Resumed: []string{}, Refused: []refusedDevice{}}
}

// add puts the answer of one device into the report.
func (r *resumeReport) add(d inventory.DeviceStanding, answer runbook.ResumeDecision) {
	r.Matched++
	if answer.Accepted {
		r.Resumed = append(r.Resumed, d.Name)
		r.done = append(r.done, answer)
		return
	}
	r.Refused = append(r.Refused, refusedDevice{Name: d.Name, Code: answer.Code, Message: answer.Message})
}

// plan puts into the report what the rules say now about a resume that nobody asks for.
func (r *resumeReport) plan(targets []inventory.DeviceStanding, lifecycles map[string]string, expectVersion string) {
	r.DryRun = true
	for _, d := range targets {
		r.Matched++
		next, err := mayResume(d, lifecycles[d.Name], expectVersion)
		if err != nil {
			refusal := runbook.AsRefusal(err)
			r.Refused = append(r.Refused, refusedDevice{Name: d.Name, Code: refusal.Code, Message: refusal.Message})
			continue
		}
		r.WouldResume = append(r.WouldResume, plannedDevice{
			Name: d.Name, RestoredVersion: runbook.OrZero(d.Restored), ReportedVersion: runbook.OrZero(d.Reported), NextVersion: next.String(),
		})
	}
}

// readLifecycles reads the status.lifecycle.status of devices, by name.
func readLifecycles(ctx context.Context, store *inventory.Store, orgID string, targets []inventory.DeviceStanding) (map[string]string, error) {
	lifecycles := make(map[string]string, len(targets))
	if len(targets) == 0 {
		return lifecycles, nil
	}
	names := make([]string, len(targets))
	for i, d := range targets {
		names[i] = d.Name
	}
	devices, err := store.Devices(ctx, inventory.Query{OrgID: orgID, Names: names})
	if err != nil {
		return nil, fmt.Errorf("read the devices' lifecycles: %w", err)
	}
	for _, d := range devices {
		lifecycles[d.Metadata.Name] = readDeviceStatus(d.Status).Lifecycle.Status
	}
	return lifecycles, nil
}

// mayResume asks the rules about a device that stands as the database says. lifecycle is its status.lifecycle.status. The
// error is a *runbook.Refusal.
func mayResume(d inventory.DeviceStanding, lifecycle, expectVersion string) (runbook.Version, error) {
	switch {
	case d.State == "":
		return 0, runbook.Refuse(runbook.CodeNotFound, "there is no device %q in organisation %s", d.Name, runbook.OrgName(d.OrgID))
	case d.State.Open() && d.RestoreID == "":
		return 0, runbook.Refuse(runbook.CodeNoRollCall, "device %q is %s, but no restore runs that has it on its roll", d.Name, d.State)
	case d.State.Open() && !runbook.Eligible(false, lifecycle):
		return 0, runbook.Refuse(runbook.CodeNotWaiting, "device %q is %s; it is withdrawn from the roll call and not resumed", d.Name, lifecycle)
	}
	return runbook.MayResume(runbook.Conflict{State: d.State, Restored: d.Restored, Reported: d.Reported}, expectVersion)
}

// notPaused are the refusals of devices that had nothing to resume.
var notPaused = []runbook.Code{runbook.CodeNotPaused, runbook.CodeNotWaiting, runbook.CodeNoRollCall, runbook.CodeNotFound}

// exitCode is the contract with scripts.
func (r *resumeReport) exitCode() int {
	idle := !slices.ContainsFunc(r.Refused, func(d refusedDevice) bool { return !slices.Contains(notPaused, d.Code) })
	switch {
	case len(r.Resumed)+len(r.WouldResume) == 0 && idle:
		return exitNothing
	case len(r.Refused) > 0:
		return exitRefusals
	}
	return exitOK
}

// finish prints the report and ends the command with its exit code.
func (o *resumeOptions) finish(r *resumeReport) error {
	if err := o.output.print(o.io.Stdout, r, r.text); err != nil {
		return err
	}
	if code := r.exitCode(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

func (r *resumeReport) text(w io.Writer) error {
	for _, d := range r.done {
		fmt.Fprintf(w, "device/%s: resumed, version %s is rendered next (restored %s, reported %s)\n", oneLine(d.Name), d.Next, runbook.OrZero(d.Restored), runbook.OrZero(d.Reported))
	}
	for _, d := range r.WouldResume {
		fmt.Fprintf(w, "device/%s: would be resumed, version %s would be rendered next (restored %s, reported %s)\n", oneLine(d.Name), d.NextVersion, d.RestoredVersion, d.ReportedVersion)
	}
	for _, d := range r.Refused {
		fmt.Fprintf(w, "device/%s: refused (%s): %s\n", oneLine(d.Name), d.Code, oneLine(d.Message))
	}
	_, err := fmt.Fprintln(w, r.summary())
	return err
}

func (r *resumeReport) summary() string {
	switch {
	case r.Matched == 0 && r.Skipped == 0:
		return "nothing matched"
	case r.Matched == 0:
		return fmt.Sprintf("nothing to resume: %s matched, none of them paused", count(r.Skipped, "device"))
	}
	verb, done := "resumed", len(r.Resumed)
	if r.DryRun {
		verb, done = "would be resumed", len(r.WouldResume)
	}
	s := fmt.Sprintf("%s asked: %d %s, %d refused", count(r.Matched, "device"), done, verb, len(r.Refused))
	if r.Skipped > 0 {
		s += fmt.Sprintf("; %d more matched but are not paused", r.Skipped)
	}
	return s
}
