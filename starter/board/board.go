// Package board shows how a roll call goes while an operator watches: counts, pace, who is new, who has waited
// longest, and what to type next. What it shows is worked out by pure functions of what was read; only Follow reads
// and waits.
package board

import (
	"fmt"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/inventory/overview"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Board is a roll call at one moment: what `status --watch -o json` prints, one in a line, and what its text is made
// of.
type Board struct {
	printer.RestoreView
	At time.Time `json:"at"`
	// Answered is how many devices await their reconnect no more, whatever became of them.
	Answered int64 `json:"answered"`
	// PerMinute is how many have answered a minute, lately, and AllAnswered when the last one will have at this pace. It
	// is nil where no estimate can be made.
	PerMinute   float64    `json:"answeredPerMinute"`
	AllAnswered *time.Time `json:"allAnsweredAt,omitempty"`
	// Undecided is how many paused devices await a decision.
	Undecided       int64               `json:"undecided"`
	PendingRequests int64               `json:"pendingEnrollmentRequests"`
	HeldPlans       []string            `json:"heldPlans,omitempty"`
	Conflicts       []inventory.Waiting `json:"newestConflicts"`
	Longest         []inventory.Waiting `json:"waitedLongest"`
	// Commands are what can be done next, ready to paste.
	Commands []string `json:"commands,omitempty"`
}

// New makes the board of what was read at a moment. warning is why nothing goes on, or empty. orgID is the
// organisation that the operator has asked for.
func New(now time.Time, status runbook.RestoreStatus, o overview.Overview, warning, orgID string) Board {
	b := Board{
		RestoreView: printer.RestoreView{RestoreStatus: status, Warning: warning},
		At:          now.UTC(), Answered: status.Total - status.Counts[runbook.StateAwaitingReconnect],
		Undecided: o.Undecided, PendingRequests: o.PendingRequests, HeldPlans: o.HeldPlans,
		Conflicts: o.Conflicts, Longest: o.Longest,
	}
	if status.State != runbook.RestoreRunning {
		b.Undecided, b.HeldPlans, b.Conflicts, b.Longest = 0, nil, nil, nil
		return b
	}
	pace := Pace{Answered: o.Answered, In: o.In}
	b.PerMinute = pace.PerMinute()
	if left, ok := pace.Left(status.Counts[runbook.StateAwaitingReconnect]); ok {
		at := b.At.Add(left)
		b.AllAnswered = &at
	}
	b.Commands = b.suggest(orgID)
	return b
}

// suggest are what an operator types next, the most urgent first.
func (b Board) suggest(orgID string) (commands []string) {
	add := func(args ...string) { commands = append(commands, printer.Command(orgID, args...)) }
	for _, id := range b.HeldPlans {
		add("plan", "show", id)
	}
	if b.Undecided > 0 {
		if len(b.Conflicts) > 0 {
			commands = append(commands, printer.Command(b.Conflicts[0].OrgID, "describe", "device", b.Conflicts[0].Name))
		}
		add("diff", "devices", "--all")
		add("plan", "resume", "devices", "--all")
	}
	if b.PendingRequests > 0 {
		add("get", "enrollmentrequests")
	}
	if len(b.Longest) > 0 && b.Longest[0].State == runbook.StateAwaitingReconnect {
		commands = append(commands, printer.Command(b.Longest[0].OrgID, "explain", "device", b.Longest[0].Name))
	}
	return commands
}

// NeedsHuman says why a human is needed, in a sentence; empty where none is.
func (b Board) NeedsHuman() string {
	var why []string
	if b.Undecided == 1 {
		why = append(why, "1 device is paused and waits for a decision")
	} else if b.Undecided > 1 {
		why = append(why, fmt.Sprintf("%d devices are paused and wait for a decision", b.Undecided))
	}
	if n := len(b.HeldPlans); n > 0 {
		why = append(why, fmt.Sprintf("%s held (%s)", printer.Count(n, "plan"), strings.Join(b.HeldPlans, ", ")))
	}
	return strings.Join(why, "; ")
}
