package workflows

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// enterPhase says what the restore does now.
func (r *restore) enterPhase(ctx workflow.Context, phase string) {
	r.progress.Phase = phase
	r.showDetails(ctx)
}

// watchTally reads the tally every now and then, for the current details: a parent does not hear of a device that was
// paused, only of one that has ended. What counts is the database, which starter status reads.
func (r *restore) watchTally(ctx workflow.Context) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		var pause time.Duration
		changed := true
		for {
			pause = nextPoll(pause, changed, workflow.GetInfo(ctx).GetCurrentHistoryLength())
			timer := workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{Summary: "read the tally again"})
			if timer.Get(ctx, nil) != nil {
				return
			}
			changed = r.readTally(ctx)
		}
	})
}

// readTally takes over the database's tally, and reports whether it has changed. A failure leaves the older one
// standing.
func (r *restore) readTally(ctx workflow.Context) bool {
	var tally runbook.RestoreStatus
	in := activities.RestoreRef{RestoreID: r.in.RestoreID}
	err := workflow.ExecuteLocalActivity(withFewRetries(ctx, "read the tally"), acts.Tally, in).Get(ctx, &tally)
	if err != nil || maps.Equal(tally.Counts, r.tally.Counts) {
		return false
	}
	r.tally = tally
	r.showDetails(ctx)
	return true
}

func (r *restore) showDetails(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, restoreDetails(r.progress, r.tally, r.opened.Mode, workflow.GetInfo(ctx).Namespace))
}

// restoreDetails says what to do first, then the tally. Each count links to the list of its devices.
func restoreDetails(
	p runbook.RestoreProgress, tally runbook.RestoreStatus, mode runbook.Mode, namespace string,
) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**Restore %s: %s**, %s.", p.RestoreID, p.State, p.Phase)
	if mode != "" {
		fmt.Fprintf(&b, " Mode: %s.", mode)
	}
	b.WriteString("\n\n")
	if p.State == runbook.RestoreRunning {
		commands := []string{"starter status " + p.RestoreID + " --watch"}
		if paused := tally.Counts[runbook.StateConflictPaused]; paused > 0 {
			fmt.Fprintf(&b, "%d devices wait for a human:\n\n", paused)
			commands = []string{
				"starter get devices \\\n    --field-selector=status.summary.status=ConflictPaused",
				"starter diff devices --all", "starter resume device NAME --reason \"…\"",
			}
		}
		writeCommands(&b, commands...)
		b.WriteString("\n")
	}
	writeRefusedSignal(&b, p.RefusedSignal)
	writeTally(&b, p, tally, namespace)
	b.WriteString(outcomeTable(p.Ended))
	return b.String()
}

// writeRefusedSignal says which signal was refused last, and why.
func writeRefusedSignal(b *strings.Builder, r *runbook.RefusedSignal) {
	if r == nil {
		return
	}
	fmt.Fprintf(b, "\n**Refused**, at %s: %s", r.At.UTC().Format(time.RFC3339), cell(r.Why))
	if r.Times > 1 {
		fmt.Fprintf(b, " (%d signals in all)", r.Times)
	}
	b.WriteString("\n\n")
}

func writeTally(b *strings.Builder, p runbook.RestoreProgress, tally runbook.RestoreStatus, namespace string) {
	if len(tally.Counts) == 0 {
		if p.Total > 0 {
			fmt.Fprintf(b, "%d devices are on the roll.\n\n", p.Total)
		}
		return
	}
	fmt.Fprintf(b, "| Devices | %d |\n|---|---|\n", tally.Total)
	for _, state := range runbook.States {
		query := fmt.Sprintf(`%s="%s" AND %s="%s"`, runbook.AttributeRestoreID, p.RestoreID, runbook.AttributeDeviceStatus,
			state)
		fmt.Fprintf(b, "| %s | %d |\n", listLink(namespace, string(state), query), tally.Counts[state])
	}
	b.WriteString("\n")
}

// listLink is a link to the web UI's list of the workflows that a query selects.
func listLink(namespace, text, query string) string {
	escaped := strings.NewReplacer(`%`, "%25", ` `, "%20", `"`, "%22", `=`, "%3D", `/`, "%2F", `&`, "%26", `#`,
		"%23").Replace(query)
	return fmt.Sprintf("[%s](/namespaces/%s/workflows?query=%s)", text, namespace, escaped)
}

func outcomeTable(ended map[runbook.Outcome]int) string {
	if endedTotal(ended) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| Workflows ended | |\n|---|---|\n")
	for _, outcome := range runbook.Outcomes {
		fmt.Fprintf(&b, "| %s | %d |\n", outcome, ended[outcome])
	}
	return b.String()
}

func endedTotal(ended map[runbook.Outcome]int) int {
	total := 0
	for _, outcome := range runbook.Outcomes {
		total += ended[outcome]
	}
	return total
}
