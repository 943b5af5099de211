package workflows

import (
	"cmp"
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// showDetails sets what the web UI shows of the device. Its pane is about 75 characters wide and 20 lines high, and it
// cuts off what stands below a table: what to do comes first, then the story, then the table.
func (d *device) showDetails(ctx workflow.Context) {
	if d.lost != nil {
		var b strings.Builder
		fmt.Fprintf(&b, "**Not on the roll any more.** The database was put back to an earlier moment: %s.",
			cell(d.lost.Message))
		writeTimeline(&b, d.status.Timeline)
		workflow.SetCurrentDetails(ctx, b.String())
		return
	}
	workflow.SetCurrentDetails(ctx, deviceDetails(d.status, cmp.Or(d.resume, d.decided), d.mode))
}

func deviceDetails(s runbook.DeviceStatus, decision runbook.ResumeDecision, mode runbook.Mode) string {
	var b strings.Builder
	switch {
	case s.Outcome == runbook.OutcomeResumed:
		fmt.Fprintf(&b, "**Resumed by %s.** Rendered again as version %s.", cell(decision.By), decision.Next)
		if decision.Reason != "" {
			fmt.Fprintf(&b, " Reason: %s", cell(decision.Reason))
		}
	case s.Outcome == runbook.OutcomeSuperseded:
		b.WriteString("**A newer restore has taken over.** Nothing of this wait acts any more.")
	case s.Outcome == runbook.OutcomeWithdrawn:
		b.WriteString("**Withdrawn.** The device was deleted or decommissioned.")
	case s.Outcome == runbook.OutcomeNormal:
		b.WriteString("**Back to normal.** It runs nothing newer than what was restored.")
	case s.State == runbook.StateConflictPaused && decision.By != "":
		fmt.Fprintf(&b, "**Resumed by %s.** Flight Control carries it out; the device stays paused on the roll until it has "+
			"reported what was rendered for it.", cell(decision.By))
	case s.State == runbook.StateConflictPaused:
		writePaused(&b, s)
	default:
		writeAwaiting(&b, s, mode)
	}
	writeTimeline(&b, s.Timeline)
	writeDeviceTable(&b, s)
	return b.String()
}

func writeAwaiting(b *strings.Builder, s runbook.DeviceStatus, mode runbook.Mode) {
	if mode == runbook.ModeFlightctl {
		// Flight Control takes no version from a human.
		b.WriteString("**Waits for the device to poll Flight Control.** If it is gone for good:\n\n")
		writeCommands(b, command("starter withdraw", s.OrgID, "device "+s.Name))
		return
	}
	b.WriteString("**Waits for the device to poll.** If you know what it runs, or it is gone for good:\n\n")
	writeCommands(b, command("starter reconnect", s.OrgID, "device "+s.Name, "--rendered-version VERSION"),
		command("starter withdraw", s.OrgID, "device "+s.Name))
}

func writePaused(b *strings.Builder, s runbook.DeviceStatus) {
	fmt.Fprintf(b, "**Waits for a human.** %s.\n\n", cell(runbook.ConflictInfo(s.Restored, s.Reported)))
	writeCommands(b, command("starter describe", s.OrgID, "device "+s.Name),
		command("starter resume", s.OrgID, "device "+s.Name, "--expect-version "+s.Reported, `--reason "…"`))
}

// commandColumns is how many columns of a command fit the pane.
const commandColumns = 77

// writeCommands writes commands in a block.
func writeCommands(b *strings.Builder, commands ...string) {
	b.WriteString("```\n" + strings.Join(commands, "\n") + "\n```\n")
}

// command is a command line, broken where it would not fit. Each part stays whole. The organisation's flag, where one
// is needed, comes last.
func command(verb, orgID string, parts ...string) string {
	line, column := verb, len(verb)
	if flag := strings.TrimSpace(orgFlag(orgID)); flag != "" {
		parts = append(parts, flag)
	}
	for _, part := range parts {
		if column+1+len(part) > commandColumns {
			line, column = line+" \\\n   ", 3
		}
		line, column = line+" "+part, column+1+len(part)
	}
	return line
}

func writeDeviceTable(b *strings.Builder, s runbook.DeviceStatus) {
	b.WriteString("\n\n| | |\n|---|---|\n")
	for _, row := range [][2]string{
		{"State", string(s.State) + " since " + s.Since.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"Versions", "restored " + orNone(s.Restored) + ", reported " + orNone(s.Reported)},
		{"Fleet", orNone(s.Fleet)},
		{"Restore", s.RestoreID},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", row[0], cell(row[1]))
	}
	if s.State != runbook.StateConflictPaused || s.Outcome != "" {
		return
	}
	b.WriteString("\nThe same with Temporal's own command line:\n\n")
	writeCommands(b, "temporal workflow signal --name resume \\\n    --workflow-id "+
		runbook.DeviceWorkflowID(s.OrgID, s.Name)+
		" \\\n    --input '{\"by\":\"you\",\"reason\":\"…\",\"expectVersion\":\""+s.Reported+"\"}'")
}

// detailsTimeline is how many of the newest timeline entries the details show; the state query has more.
const detailsTimeline = 10

// writeTimeline writes the story, the newest entry first, one short line each.
func writeTimeline(b *strings.Builder, timeline []runbook.TimelineEntry) {
	if len(timeline) == 0 {
		return
	}
	b.WriteString("\n\n")
	for i := len(timeline) - 1; i >= max(0, len(timeline)-detailsTimeline); i-- {
		e := timeline[i]
		by := ""
		if e.By != "" {
			by = " by " + cell(e.By)
		}
		fmt.Fprintf(b, "- %s UTC: **%s**%s, %s\n", e.At.UTC().Format("01-02 15:04:05"), cell(messageText(e)), by,
			cell(consequence(e)))
	}
}

func messageText(e runbook.TimelineEntry) string {
	text := e.Message
	if e.Version != "" {
		text += " " + e.Version
	}
	if e.Times > 1 {
		text += fmt.Sprintf(" (%d times)", e.Times)
	}
	return text
}

func consequence(e runbook.TimelineEntry) string {
	switch {
	case !e.Accepted:
		return fmt.Sprintf("refused (%s): %s", e.Code, e.Why)
	case e.From != e.To:
		return fmt.Sprintf("now %s (%s)", e.To, e.Transition)
	default:
		return "noted, still " + string(e.To)
	}
}

func orgFlag(orgID string) string {
	if org := runbook.OrgName(orgID); org != runbook.DefaultOrg {
		return " --org " + org
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// cell makes a text safe inside a Markdown table or line: other people's words must not become markup.
func cell(s string) string {
	const longest = 200
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest]) + "…"
	}
	return strings.NewReplacer("\\", "\\\\", "\r", " ", "\n", " ", "|", "\\|", "<", "&lt;", "`", "'", "*", "\\*", "[",
		"\\[", "_", "\\_").Replace(s)
}
