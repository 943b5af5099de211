package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// showDetails sets what the web UI shows of the device: first what it waits for and the command that unblocks it, then the
// table, because a narrow window cuts off what stands below one.
func (d *device) showDetails(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, deviceDetails(d.status, d.resume))
}

func deviceDetails(s runbook.DeviceStatus, decision runbook.ResumeDecision) string {
	var b strings.Builder
	switch {
	case s.Outcome == runbook.OutcomeResumed:
		fmt.Fprintf(&b, "**Resumed by %s.** Rendered anew as version %s.", cell(decision.By), decision.Next)
		if decision.Reason != "" {
			fmt.Fprintf(&b, " Reason: %s", cell(decision.Reason))
		}
	case s.Outcome == runbook.OutcomeSuperseded:
		b.WriteString("**A newer restore has taken over.** This wait has ended; nothing of it acts any more.")
	case s.Outcome == runbook.OutcomeWithdrawn:
		b.WriteString("**Withdrawn.** The device was deleted or decommissioned and has left the roll call.")
	case s.Outcome == runbook.OutcomeNormal:
		b.WriteString("**Back to normal.** It runs nothing newer than what was restored.")
	case s.State == runbook.StateConflictPaused:
		writePaused(&b, s)
	default:
		writeAwaiting(&b, s)
	}
	writeDeviceTable(&b, s)
	writeTimeline(&b, s.Timeline)
	return b.String()
}

func writeAwaiting(b *strings.Builder, s runbook.DeviceStatus) {
	fmt.Fprintf(b, "**Waits for the device to reconnect.** Its next poll does it. If you know what it runs, say so; if it is gone for good, withdraw it:\n\n")
	fmt.Fprintf(b, "```\nstarter reconnect device %s%s --rendered-version VERSION\nstarter withdraw device %s%s\n```\n", s.Name, orgFlag(s.OrgID), s.Name, orgFlag(s.OrgID))
}

func writePaused(b *strings.Builder, s runbook.DeviceStatus) {
	fmt.Fprintf(b, "**Waits for a human.** %s. Review it, then resume it:\n\n", cell(runbook.ConflictInfo(s.Restored, s.Reported)))
	fmt.Fprintf(b, "```\nstarter describe device %s%s\nstarter resume device %s%s --expect-version %s --reason \"…\"\n```\n", s.Name, orgFlag(s.OrgID), s.Name, orgFlag(s.OrgID), s.Reported)
	fmt.Fprintf(b, "\nor, with Temporal's own command line:\n\n```\ntemporal workflow signal --workflow-id %s --name resume --input '{\"by\":\"you\",\"reason\":\"…\",\"expectVersion\":\"%s\"}'\n```\n",
		runbook.DeviceWorkflowID(s.OrgID, s.Name), s.Reported)
}

func writeDeviceTable(b *strings.Builder, s runbook.DeviceStatus) {
	b.WriteString("\n\n| | |\n|---|---|\n")
	for _, row := range [][2]string{
		{"State", string(s.State)},
		{"Since", s.Since.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"Restored version", orNone(s.Restored)},
		{"Reported version", orNone(s.Reported)},
		{"Fleet", orNone(s.Fleet)},
		{"Restore", s.RestoreID},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", row[0], cell(row[1]))
	}
}

// detailsTimeline is how many of the newest timeline entries the details show; the state query has more.
const detailsTimeline = 10

func writeTimeline(b *strings.Builder, timeline []runbook.TimelineEntry) {
	if len(timeline) == 0 {
		return
	}
	b.WriteString("\n\n| When | Message | By | What came of it |\n|---|---|---|---|\n")
	for i := len(timeline) - 1; i >= max(0, len(timeline)-detailsTimeline); i-- {
		e := timeline[i]
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", e.At.UTC().Format("2006-01-02 15:04:05"), cell(messageText(e)), cell(e.By), cell(consequence(e)))
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
		return fmt.Sprintf("refused, %s: %s", e.Code, e.Why)
	case e.From != e.To:
		return fmt.Sprintf("%s → %s (%s)", e.From, e.To, e.Transition)
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
	return strings.NewReplacer("\r", " ", "\n", " ", "|", "\\|", "<", "&lt;", "`", "'", "*", "\\*", "[", "\\[", "_", "\\_").Replace(s)
}
