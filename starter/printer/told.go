package printer

import (
	"fmt"
	"io"

	"rollcall/runbook"
)

// ToldReport is what `withdraw -o json` and `reconnect -o json` print of several devices, and what their text is made
// of.
type ToldReport struct {
	// Matched is the number of devices that were to be asked: those done, refused, unknown and not asked.
	Matched int `json:"matched"`
	// Done are the devices whose workflow has accepted the message.
	Done []ToldDevice `json:"done"`
	Outcomes
	// Skipped is the number of devices that a selector matched but that neither wait nor are paused.
	Skipped int  `json:"skipped"`
	DryRun  bool `json:"dryRun,omitempty"`

	verb string
}

// ToldDevice is a device for which a message was accepted, or in a dry run would be sent.
type ToldDevice struct {
	Name            string        `json:"name"`
	State           runbook.State `json:"state"`
	RestoredVersion string        `json:"restoredVersion,omitempty"`
	ReportedVersion string        `json:"reportedVersion,omitempty"`
}

// NewToldReport begins a report without answers; verb is what is done to a device, such as "withdrawn", and skipped
// devices were selected and neither wait nor are paused.
func NewToldReport(verb string, skipped int) *ToldReport {
	return &ToldReport{verb: verb, Skipped: skipped, Done: []ToldDevice{}, Outcomes: newOutcomes()}
}

// Add puts what became of one device into the report; an empty code is that the message was accepted.
func (r *ToldReport) Add(d ToldDevice, code runbook.Code, why string) {
	r.Matched++
	if code != "" {
		r.add(d.Name, code, why)
		return
	}
	r.Done = append(r.Done, d)
}

// ExitCode is the contract with scripts, as for resume.
func (r *ToldReport) ExitCode() int {
	return r.exitCode(len(r.Done), runbook.CodeNotWaiting, runbook.CodeNoRollCall, runbook.CodeNotFound)
}

// Text writes the report for people.
func (r *ToldReport) Text(w io.Writer) error {
	verb := r.verb
	if r.DryRun {
		verb = "would be " + verb
	}
	for _, d := range r.Done {
		fmt.Fprintf(w, "device/%s: %s", OneLine(d.Name), verb)
		if !r.DryRun && d.State != runbook.StateWithdrawn {
			fmt.Fprintf(w, ", it is %s (restored %s, reported %s)",
				d.State, runbook.OrZero(d.RestoredVersion), runbook.OrZero(d.ReportedVersion))
		}
		fmt.Fprintln(w)
	}
	r.text(w, "device")
	_, err := fmt.Fprintln(w, r.sum(verb))
	return err
}

func (r *ToldReport) sum(verb string) string {
	switch {
	case r.Matched == 0 && r.AnsweredBefore > 0:
		return "nothing left to ask" + r.before()
	case r.Matched == 0 && r.Skipped == 0:
		return "nothing matched"
	case r.Matched == 0:
		return fmt.Sprintf("nothing to do: %s matched, none of which waits or is paused", Count(r.Skipped, "device"))
	}
	s := fmt.Sprintf("%s: %d %s, %s%s", asked(r.Matched-len(r.NotAsked), r.DryRun), len(r.Done), verb, r.summary(),
		r.before())
	if r.Skipped > 0 {
		s += fmt.Sprintf("; %d more matched but neither wait nor are paused", r.Skipped)
	}
	return s
}
