package board

import (
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// barWidth is how many characters the bar of a board has.
const barWidth = 20

// Text writes the board for people. Its two lists have so many rows each at most.
func (b Board) Text(w io.Writer, rows int) error {
	if b.Warning != "" {
		fmt.Fprintf(w, "warning: %s\n\n", printer.OneLine(b.Warning))
	}
	fmt.Fprintf(w, "restore %s: %s, started %s\n", b.RestoreID, b.State, printer.Ago(b.At, &b.StartedAt))
	fmt.Fprintf(w, "  %s\n  %s %3d%% %s\n", b.sum(), b.bar(), percent(b.Answered, b.Total), b.pace())
	if err := b.writeLists(w, rows); err != nil {
		return err
	}
	for _, line := range []string{b.asks(), b.NeedsHuman()} {
		if line != "" {
			fmt.Fprintf(w, "\n%s\n", line)
		}
	}
	if len(b.Commands) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nNext:")
	for _, command := range b.Commands {
		if _, err := fmt.Fprintf(w, "  %s\n", command); err != nil {
			return err
		}
	}
	return nil
}

// Line is the board in one line, for a log.
func (b Board) Line() string {
	line := printer.TallyLine(b.RestoreStatus)
	if b.State != runbook.RestoreRunning {
		return line + "; " + printer.Lower(b.State)
	}
	return line + "; " + b.pace()
}

// sum shows that the counts add up, or by how much they do not.
func (b Board) sum() string {
	n := b.Counts
	sum := fmt.Sprintf("%s = %d wait + %d paused + %d back + %d withdrawn", printer.Count(b.Total, "device"),
		n[runbook.StateAwaitingReconnect], n[runbook.StateConflictPaused], n[runbook.StateNormal], n[runbook.StateWithdrawn])
	if !b.AddsUp() {
		sum += " DOES NOT ADD UP: run `starter fsck`"
	}
	return sum
}

func (b Board) bar() string {
	full := int(percent(b.Answered, b.Total)) * barWidth / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
}

// percent is part of whole, rounded down, so that 100 is all of it. All of nothing is 100, too.
func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 100
	}
	return min(max(part, 0)*100/whole, 100)
}

// pace says how fast devices answer, and when the last one will have.
func (b Board) pace() string {
	if b.State != runbook.RestoreRunning || b.Counts[runbook.StateAwaitingReconnect] == 0 {
		return "have answered"
	}
	pace := fmt.Sprintf("have answered, %.1f a minute", b.PerMinute)
	if b.AllAnswered == nil {
		return pace
	}
	return fmt.Sprintf("%s: all in about %s", pace, duration.HumanDuration(b.AllAnswered.Sub(b.At)))
}

func (b Board) asks() string {
	if b.PendingRequests == 0 {
		return ""
	}
	return printer.Count(b.PendingRequests, "enrollment request") + " pending"
}

func (b Board) writeLists(w io.Writer, rows int) error {
	newest, longest := b.Conflicts[:min(rows, len(b.Conflicts))], b.Longest[:min(rows, len(b.Longest))]
	if len(newest) > 0 {
		fmt.Fprintf(w, "\nnewest conflicts (%d of %d):\n", len(newest), b.Counts[runbook.StateConflictPaused])
		err := list(w, newest, []string{"RESTORED", "REPORTED", "SINCE"}, func(d inventory.Waiting) []string {
			return []string{runbook.OrZero(d.Restored), d.Reported, printer.Ago(b.At, &d.Since)}
		})
		if err != nil {
			return err
		}
	}
	if len(longest) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nwaited longest (%d of %d):\n", len(longest), b.Waiting())
	return list(w, longest, []string{"STATE", "SINCE", "LAST SEEN BEFORE"}, func(d inventory.Waiting) []string {
		return []string{string(d.State), printer.Ago(b.At, &d.Since), printer.Ago(b.At, d.LastSeenBefore)}
	})
}

// list writes a table of devices, with their organisations where one is not the default.
func list(w io.Writer, devices []inventory.Waiting, headers []string, cells func(inventory.Waiting) []string) error {
	head, orgs := []string{"NAME", "FLEET"}, false
	for _, d := range devices {
		orgs = orgs || d.OrgID != runbook.DefaultOrgID
	}
	if orgs {
		head = append(head, "ORG")
	}
	rows := make([][]string, len(devices))
	for i, d := range devices {
		rows[i] = []string{d.Name, printer.OrNone(d.Fleet)}
		if orgs {
			rows[i] = append(rows[i], runbook.OrgName(d.OrgID))
		}
		rows[i] = append(rows[i], cells(d)...)
	}
	return printer.Table(w, append(head, headers...), rows)
}

// clock is a moment as a line of a log begins.
func clock(t time.Time) string { return t.Local().Format(time.TimeOnly) }
