package printer

import (
	"fmt"
	"io"

	"rollcall/inventory"
	"rollcall/runbook"
)

// ResumeReport is what `resume -o json` prints, and what its text is made of.
type ResumeReport struct {
	// Matched is the number of devices that were to be asked: those resumed, refused, unknown and not asked.
	Matched int      `json:"matched"`
	Resumed []string `json:"resumed"`
	Outcomes
	// Skipped is the number of devices that a selector matched but that were not paused.
	Skipped     int             `json:"skipped"`
	DryRun      bool            `json:"dryRun,omitempty"`
	WouldResume []PlannedDevice `json:"wouldResume,omitempty"`
	// PlanID is the plan that has resumed devices that were selected.
	PlanID string `json:"planId,omitempty"`

	orgID string
	// done are the decisions on the devices that were resumed, in the order of Resumed.
	done []runbook.ResumeDecision
}

// PlannedDevice is what a resume would do to a device.
type PlannedDevice struct {
	Name            string `json:"name"`
	RestoredVersion string `json:"restoredVersion"`
	ReportedVersion string `json:"reportedVersion"`
	NextVersion     string `json:"nextVersion"`
}

// NewResumeReport begins a report without answers; skipped devices were selected and are not paused.
func NewResumeReport(orgID string, skipped int) *ResumeReport {
	return &ResumeReport{orgID: orgID, Skipped: skipped, Resumed: []string{}, Outcomes: newOutcomes()}
}

// Add puts the answer of one device into the report.
func (r *ResumeReport) Add(d inventory.DevicePosition, answer runbook.ResumeDecision) {
	r.Matched++
	if answer.Accepted {
		r.Resumed = append(r.Resumed, d.Name)
		r.done = append(r.done, answer)
		return
	}
	r.add(d.Name, answer.Code, answer.Message)
}

// Plan puts into the report what the rules say now about a resume that no one asks for.
func (r *ResumeReport) Plan(targets []inventory.DevicePosition, lifecycles map[string]string, expectVersion string) {
	r.DryRun = true
	for _, d := range targets {
		r.Matched++
		next, err := d.MayResume(lifecycles[d.Name], expectVersion)
		if err != nil {
			refusal := runbook.AsRefusal(err)
			r.add(d.Name, refusal.Code, refusal.Message)
			continue
		}
		r.WouldResume = append(r.WouldResume, PlannedDevice{
			Name: d.Name, RestoredVersion: runbook.OrZero(d.Restored), ReportedVersion: runbook.OrZero(d.Reported),
			NextVersion: next.String(),
		})
	}
}

// notPaused are the refusals of devices that had nothing to resume.
var notPaused = []runbook.Code{
	runbook.CodeNotPaused, runbook.CodeNotWaiting, runbook.CodeNoRollCall,
	runbook.CodeNotFound,
}

// ExitCode is the contract with scripts.
func (r *ResumeReport) ExitCode() int {
	return r.exitCode(len(r.Resumed)+len(r.WouldResume), notPaused...)
}

// Text writes the report for people.
func (r *ResumeReport) Text(w io.Writer) error {
	for _, d := range r.done {
		restored := ""
		if d.Restored != "" {
			restored = "restored " + d.Restored + ", "
		}
		fmt.Fprintf(w, "device/%s: resumed, version %s is rendered next (%sreported %s)\n", OneLine(d.Name), d.Next, restored,
			runbook.OrZero(d.Reported))
	}
	for _, d := range r.WouldResume {
		fmt.Fprintf(w, "device/%s: would be resumed, version %s would be rendered next (restored %s, reported %s)\n",
			OneLine(d.Name), d.NextVersion, d.RestoredVersion, d.ReportedVersion)
	}
	r.text(w, "device")
	_, err := fmt.Fprintln(w, r.sum())
	if err == nil && r.PlanID != "" {
		_, err = fmt.Fprintf(w, "what becomes of them: %s\n", Command(r.orgID, "plan", "show", r.PlanID))
	}
	return err
}

func (r *ResumeReport) sum() string {
	switch {
	case r.Matched == 0 && r.AnsweredBefore > 0:
		return "nothing left to ask" + r.before()
	case r.Matched == 0 && r.Skipped == 0:
		return "nothing matched"
	case r.Matched == 0:
		return fmt.Sprintf("nothing to resume: %s matched, none of them paused", Count(r.Skipped, "device"))
	}
	verb, done := "resumed", len(r.Resumed)
	if r.DryRun {
		verb, done = "would be resumed", len(r.WouldResume)
	}
	s := fmt.Sprintf("%s: %d %s, %s%s", asked(r.Matched-len(r.NotAsked), r.DryRun), done, verb, r.Outcomes.summary(),
		r.before())
	if r.Skipped > 0 {
		s += fmt.Sprintf("; %d more matched but are not paused", r.Skipped)
	}
	return s
}
