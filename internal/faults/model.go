package faults

import (
	"fmt"
	"strconv"
	"time"

	"rollcall/runbook"
)

// Kind is what a call asks for.
type Kind string

// The kinds of calls.
const (
	// Report is a version that a device or a person says the device runs.
	Report Kind = "report"
	// Put is a status that an agent puts. Of a paused device it counts only where its version is higher. One that would
	// let a waiting device through waits for the agent's poll, and counts by itself long after the run.
	Put Kind = "put"
	// Resume is a decision about a conflict.
	Resume Kind = "resume"
	// Withdraw is a person's word that the device never comes back.
	Withdraw Kind = "withdraw"
	// Post makes an enrollment request; it is refused where there is one. Approve and Deny are decisions about it, and
	// See is what its agent is told of it.
	Post    Kind = "post"
	Approve Kind = "approve"
	Deny    Kind = "deny"
	See     Kind = "see"
	// Look reads the row of a device or of a request at the end.
	Look Kind = "look"
	// Save keeps a copy of the database, and PutBack puts it in the database's place.
	Save    Kind = "save"
	PutBack Kind = "put back"
	// Forget is the loss of Temporal's database.
	Forget Kind = "forget"
	// Cancel is the time from the cancellation of a restore until it is taken up again.
	Cancel Kind = "cancel"
)

// Answer is what the caller was told.
type Answer string

// The answers. Stored says that a message will be read; Unknown that it may have been carried out, or be yet; Unheard
// that there was no workflow to hear it.
const (
	Stored   Answer = "stored"
	Accepted Answer = "accepted"
	Refused  Answer = "refused"
	Unknown  Answer = "unknown"
	Unheard  Answer = "unheard"
)

// Call is one call about one device, or about the enrollment request of that name.
type Call struct {
	Client  int
	OrgID   string
	Device  string
	Request bool
	// Awaits reports whether the device of a request awaits its reconnect once it is approved.
	Awaits  bool
	Kind    Kind
	Version string // of a report; of a resume the version that was looked at
	By      string
	Via     string
	Start   time.Time
	End     time.Time
	Answer  Answer
	Next    string     // of a resume that was accepted, where the caller was told
	Seen    row        // by Look
	Found   requestRow // by Look and See of a request
	// Early reports whether the call began before the restore had put all its devices on the roll, or came while the
	// restore was cancelled. What a device reports before it is on the roll counts for nothing.
	Early  bool
	Detail string
}

// workflowID is that of the workflow that the call is about.
func (c Call) workflowID() string {
	if c.Request {
		return runbook.EnrollmentWorkflowID(c.OrgID, c.Device)
	}
	return runbook.DeviceWorkflowID(c.OrgID, c.Device)
}

// decides reports whether the call is a person's decision, which the answer names.
func (c Call) decides() bool { return c.Kind == Resume || c.Kind == Approve || c.Kind == Deny }

// String is one line of a timeline.
func (c Call) String() string {
	text := fmt.Sprintf("%s client %d %s %s/%s %q by %s: %s",
		c.Via, c.Client, c.Kind, c.OrgID[:4], c.Device, c.Version, c.By, c.Answer)
	switch {
	case c.Request && (c.Kind == Look || c.Kind == See):
		text = fmt.Sprintf("%s %s/%s: %+v", c.Kind, c.OrgID[:4], c.Device, c.Found)
	case c.Kind == Look:
		text = fmt.Sprintf("look %s/%s: %+v", c.OrgID[:4], c.Device, c.Seen)
	}
	if c.Next != "" {
		text += ", next " + c.Next
	}
	if c.Detail != "" {
		text += " (" + c.Detail + ")"
	}
	return text
}

// row is where a device stands on the roll.
type row struct {
	State    runbook.State `db:"state"`
	Reported string        `db:"reported"`
	Next     string        `db:"next"`
	By       string        `db:"by"`
}

// restoredVersion is that of each device.
const restoredVersion = 5

// step is the table of transitions once more, as plainly as it can be. It returns the rows that a call can lead to;
// none where it cannot have been answered so. What is unknown may have happened or not, and so may what was said before
// the device was on the roll.
func step(r row, c Call) []row {
	switch c.Kind {
	case Look:
		if r != c.Seen {
			return nil
		}
		return []row{r}
	case Resume:
		return resume(r, c)
	}
	counts, after := r.State.Open(), []row{r}
	switch {
	case c.Kind == Withdraw && counts:
		after = []row{{State: runbook.StateWithdrawn, Reported: r.Reported}}
	case c.Kind == Report, c.Kind == Put:
		if _, err := strconv.Atoi(c.Version); err != nil {
			counts = false
			break
		}
		after = report(r, c.Version, c.Kind == Put)
	}
	switch {
	case c.Answer == Accepted && !counts, c.Answer == Refused && counts && !c.Early:
		return nil
	case c.Answer == Refused:
		return []row{r}
	case c.Answer == Unknown, c.Answer == Stored && c.Early:
		after = append(after, r)
	}
	return after
}

// report is T2, T3, or the newest version of a paused device.
func report(r row, version string, put bool) []row {
	v, _ := strconv.Atoi(version) // it is one
	reported := row{State: runbook.StateConflictPaused, Reported: version}
	switch r.State {
	case runbook.StateAwaitingReconnect:
		if v > restoredVersion {
			return []row{reported}
		}
		if reported.State = runbook.StateNormal; put {
			return []row{r, reported}
		}
		return []row{reported}
	case runbook.StateConflictPaused:
		if known, _ := strconv.Atoi(r.Reported); put && v <= known {
			// The gateway passes on what it takes for news. It reads the device a moment before.
			return []row{r, reported}
		}
		return []row{reported}
	}
	return []row{r}
}

// resume is T4, or its refusal.
func resume(r row, c Call) []row {
	counts := r.State == runbook.StateConflictPaused && (c.Version == "" || c.Version == r.Reported)
	after := r
	if counts {
		reported, _ := strconv.Atoi(r.Reported)
		after = row{
			State: runbook.StateNormal, Reported: r.Reported, By: c.By,
			Next: strconv.Itoa(max(restoredVersion, reported) + 1),
		}
	}
	switch {
	case c.Answer == Accepted && counts && (c.Next == "" || c.Next == after.Next):
		return []row{after}
	case c.Answer == Accepted, c.Answer == Refused && counts && !c.Early:
		return nil
	case c.Answer == Refused:
		return []row{r}
	case c.Answer == Stored && !c.Early || !counts:
		return []row{after}
	}
	return []row{after, r}
}
