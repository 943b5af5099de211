package review

import (
	"fmt"
	"io"
	"time"

	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Explanation is what `explain -o json` prints, and what its text is made of: what a device waits for, since when, and
// who or what can end that.
type Explanation struct {
	Name  string        `json:"name"`
	OrgID string        `json:"orgId"`
	State runbook.State `json:"state,omitempty"`
	// WaitsFor says what the device waits for; empty where it waits for nothing.
	WaitsFor string     `json:"waitsFor,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	// Why is the reason, in a sentence.
	Why string `json:"why"`
	// HeldBack is how many reports were not told to the roll call, as the device has reported too often.
	HeldBack int64 `json:"heldBackReports,omitempty"`
	// Unblocks are who or what can end the wait, the usual one first.
	Unblocks []Unblock `json:"unblocks"`
	// Warning says why nothing goes on, and what helps.
	Warning string `json:"warning,omitempty"`
}

// Unblock is one way in which a wait ends.
type Unblock struct {
	Who string `json:"who"`
	// Commands are what they type; empty where nothing is to be typed.
	Commands []string `json:"commands,omitempty"`
}

// Explain says what the device waits for.
func (r *Review) Explain() Explanation {
	e := Explanation{
		Name: r.Name, OrgID: r.OrgID, State: r.State, Since: r.Since, HeldBack: r.HeldBack,
		Unblocks: []Unblock{},
	}
	gone := Unblock{"a human, if the device is gone for good", []string{r.withdrawal()}}
	switch {
	case r.Gone:
		e.WaitsFor, e.Why = "a human", "the device is no longer in the inventory, and its workflow still waits for it"
		e.Unblocks = append(e.Unblocks, Unblock{"a human", []string{r.withdrawal()}})
	case r.State.Open() && r.RestoreID == "":
		e.WaitsFor, e.Why = "a restore", fmt.Sprintf("the device is %s, but no restore runs that has it on its roll", r.State)
		start := printer.Command("", "restore", "--wait")
		e.Unblocks = append(e.Unblocks, Unblock{"a human, who starts the roll call", []string{start}})
	case r.isFollowed():
		r.explainFollowed(&e)
	case r.State == runbook.StateAwaitingReconnect:
		r.explainAwaiting(&e, gone)
	case r.State == runbook.StateConflictPaused:
		r.explainPaused(&e, gone)
	case r.State == runbook.StateWithdrawn:
		e.Why = "the device has left the roll call"
		if r.LeftPaused {
			e.WaitsFor, e.Why = "a human", "the device has left the roll call and is paused in Flight Control, which renders "+
				"nothing for it, its decommissioning as little as anything else"
			e.Unblocks = append(e.Unblocks, Unblock{"a human, in Flight Control", []string{"flightctl resume device/" + r.Name}})
		}
	default:
		e.Why = "the device is back to normal; its rendering runs"
		if r.SpecInvalid != "" {
			e.Why = "the device is back to normal, but " + r.cannotRender()
		}
	}
	return e
}

// isFollowed reports whether Flight Control has released or resumed the device, and the roll waits until it is
// rendered.
func (r *Review) isFollowed() bool {
	return r.Mode == runbook.ModeFlightctl && r.RestoreState == runbook.RestoreRunning && r.rollState.Open() &&
		r.State == runbook.StateNormal
}

func (r *Review) explainFollowed(e *Explanation) {
	if by, decided := r.decision(); decided {
		r.explainDecided(e, by)
		return
	}
	e.WaitsFor, e.Why = "Flight Control", "Flight Control has released it, and the roll follows once it is rendered"
	r.explainRendering(e)
}

// explainDecided says what a device waits for that a human has resumed.
func (r *Review) explainDecided(e *Explanation, by string) {
	e.WaitsFor = "Flight Control"
	e.Why = fmt.Sprintf("%s has resumed it; the device stays paused until it has reported what was rendered for it", by)
	r.explainRendering(e)
}

// explainRendering says who can have the device rendered: where Flight Control cannot, who corrects the spec. It is
// asked again all the same, ever more rarely, for what it could not read may be there by then.
func (r *Review) explainRendering(e *Explanation) {
	if r.SpecInvalid == "" {
		e.Unblocks = append(e.Unblocks, Unblock{Who: "Flight Control, which renders it, and then the device's agent"})
		return
	}
	e.Why += "; " + r.cannotRender()
	look := r.reviewFleet()
	if look == nil {
		look = []string{printer.Command(r.OrgID, "get", "device", r.Name, "-o", "yaml")}
	}
	e.Unblocks = append(e.Unblocks, Unblock{"a human, who corrects the spec in Flight Control, after a look", look})
}

func (r *Review) cannotRender() string {
	return "Flight Control cannot render its spec: " + r.SpecInvalid
}

func (r *Review) explainAwaiting(e *Explanation, gone Unblock) {
	e.WaitsFor, e.Why = "its agent", "the device has not reported since the restore, and its rendering is paused"
	if r.Mode == runbook.ModeFlightctl {
		// Flight Control takes no version from a human.
		e.Unblocks = append(e.Unblocks, Unblock{Who: "the device's agent, with its next poll of Flight Control"}, gone)
		return
	}
	e.Unblocks = append(e.Unblocks, Unblock{Who: "the device's agent, with its next poll of the gateway"},
		Unblock{"a human who knows what the device runs", []string{
			printer.Command(r.OrgID, "reconnect", "device", r.Name, "--rendered-version", "VERSION"),
		}}, gone)
}

func (r *Review) explainPaused(e *Explanation, gone Unblock) {
	e.Why = runbook.ConflictInfo(r.Restored, r.Reported)
	if by, decided := r.decision(); decided {
		r.explainDecided(e, by)
		return
	}
	if r.Unresumable != "" {
		e.WaitsFor, e.Why = "a human", r.Unresumable
		e.Unblocks = append(e.Unblocks, gone)
		return
	}
	e.WaitsFor = "a human's decision"
	e.Unblocks = append(e.Unblocks, Unblock{"a human, after a look", []string{
		printer.Command(r.OrgID, "describe", "device", r.Name),
		printer.Command(r.OrgID, "diff", "device", r.Name),
		printer.Command(r.OrgID, "resume", "device", r.Name, "--expect-version", runbook.OrZero(r.Reported),
			"--reason", "checked on site"),
	}}, gone)
}

// decision is whose resume Flight Control has yet to carry out.
func (r *Review) decision() (by string, decided bool) {
	for _, entry := range r.Timeline {
		switch entry.Transition {
		case runbook.Decided:
			by, decided = entry.By, true
		case runbook.Dropped, runbook.T1, runbook.T3, runbook.T4:
			by, decided = "", false
		}
	}
	return by, decided && r.Mode == runbook.ModeFlightctl
}

// ExplainPending explains a name of which there is no device, but a pending enrollment request.
func ExplainPending(name, orgID string, since *time.Time) Explanation {
	return Explanation{
		Name: name, OrgID: orgID, WaitsFor: "a human's approval", Since: since,
		Why: "there is no such device; an agent of that name asks to be let in",
		Unblocks: []Unblock{{"a human who knows the device", []string{
			printer.Command(orgID, "get", "enrollmentrequest", name, "-o", "yaml"),
			printer.Command(orgID, "approve", "enrollmentrequest", name, "--reason", "known device"),
			printer.Command(orgID, "deny", "enrollmentrequest", name, "--reason", "not ours"),
		}}},
	}
}

// Text writes the explanation for people.
func (e Explanation) Text(w io.Writer, now time.Time) error {
	if e.Warning != "" {
		fmt.Fprintf(w, "warning: %s\n\n", printer.OneLine(e.Warning))
	}
	waits := "waits for nothing"
	if e.WaitsFor != "" {
		waits = "waits for " + e.WaitsFor
	}
	if e.WaitsFor != "" && e.Since != nil {
		waits += fmt.Sprintf(", since %s (%s)", printer.Stamp(*e.Since), printer.Ago(now, e.Since))
	}
	fmt.Fprintf(w, "device/%s %s\n", printer.OneLine(e.Name), waits)
	if e.HeldBack > 0 {
		fmt.Fprintf(w, "  held back: %s\n", heldBackText(e.HeldBack))
	}
	if _, err := fmt.Fprintf(w, "  %s\n", printer.OneLine(e.Why)); err != nil {
		return err
	}
	if len(e.Unblocks) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nWho or what can end the wait:")
	for _, u := range e.Unblocks {
		if _, err := fmt.Fprintf(w, "- %s%s\n", u.Who, colon(u.Commands)); err != nil {
			return err
		}
		for _, command := range u.Commands {
			fmt.Fprintf(w, "    %s\n", command)
		}
	}
	return nil
}

func colon(commands []string) string {
	if len(commands) == 0 {
		return "; nothing is to be typed"
	}
	return ":"
}
