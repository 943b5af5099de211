package printer

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// RestoreRows is the table of restores.
func RestoreRows(now time.Time, restores []runbook.RestoreStatus) (headers []string, rows [][]string) {
	for _, r := range restores {
		row := []string{r.RestoreID, string(r.State), Ago(now, &r.StartedAt)}
		for _, s := range runbook.States {
			row = append(row, strconv.FormatInt(r.Counts[s], 10))
		}
		rows = append(rows, append(row, strconv.FormatInt(r.Total, 10)))
	}
	return []string{"ID", "STATE", "STARTED", "AWAITING", "PAUSED", "NORMAL", "WITHDRAWN", "TOTAL"}, rows
}

// TransitionRows is the table of the audit.
func TransitionRows(entries []inventory.TransitionRow) (headers []string, rows [][]string) {
	for _, e := range entries {
		version := e.Reported
		if e.Next != "" {
			version += " → " + e.Next
		}
		rows = append(rows, []string{
			Stamp(e.At), e.Name, string(e.Transition), became(e), OrNone(version),
			Actor(e.Actor, e.Identity), e.Reason, string(e.Via), e.RestoreID,
		})
	}
	return []string{"AT", "NAME", "TRANSITION", "OUTCOME", "VERSION", "BY", "REASON", "VIA", "RESTORE"}, rows
}

// became is what came of an entry. A refusal names the message that was refused. An act that is about no device names
// itself, and its plan.
func became(e inventory.TransitionRow) string {
	switch {
	case e.Code != "":
		return strings.TrimSpace(e.Signal+" refused ("+string(e.Code)+"): ") + " " + e.Message
	case e.Name == "":
		plan, _ := strings.CutPrefix(e.DecisionID, "plan/")
		if plan == e.DecisionID {
			plan = ""
		}
		return strings.TrimSpace(e.Signal + " " + plan)
	}
	return string(e.To)
}

// Actor is who acted, with how a person is known. Of an entry of an earlier release that is not known, and not shown.
func Actor(name string, identity runbook.Identity) string {
	if identity == "" {
		return OrNone(name)
	}
	return fmt.Sprintf("%s (%s)", name, identity)
}
