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
			pause = nextLook(pause, changed, workflow.GetInfo(ctx).GetCurrentHistoryLength())
			timer := workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{Summary: "read the tally again"})
			if timer.Get(ctx, nil) != nil {
				return
			}
			changed = r.readTally(ctx)
		}
	})
}

// readTally takes over the database's tally, and tells whether it has changed. A failure leaves the older one standing.
func (r *restore) readTally(ctx workflow.Context) bool {
	var tally runbook.RestoreStatus
	in := activities.RestoreRef{RestoreID: r.in.RestoreID}
	err := workflow.ExecuteLocalActivity(quick(ctx, "read the tally"), acts.Tally, in).Get(ctx, &tally)
	if err != nil || maps.Equal(tally.Counts, r.tally.Counts) {
		return false
	}
	r.tally = tally
	r.showDetails(ctx)
	return true
}

func (r *restore) showDetails(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, restoreDetails(r.progress, r.tally))
}

func restoreDetails(p runbook.RestoreProgress, tally runbook.RestoreStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**Restore %s: %s**, %s.\n\n", p.RestoreID, p.State, p.Phase)
	if paused := tally.Counts[runbook.StateConflictPaused]; paused > 0 && p.State == runbook.RestoreRunning {
		fmt.Fprintf(&b, "%d devices wait for a human:\n\n```\nstarter get devices --field-selector=status.summary.status=ConflictPaused\nstarter resume device NAME --reason \"…\"\n```\n\n", paused)
	}
	if len(tally.Counts) > 0 {
		fmt.Fprintf(&b, "| Devices | %d |\n|---|---|\n", tally.Total)
		for _, state := range runbook.States {
			fmt.Fprintf(&b, "| %s | %d |\n", state, tally.Counts[state])
		}
		b.WriteString("\n")
	} else if p.Total > 0 {
		fmt.Fprintf(&b, "%d devices are on the roll.\n\n", p.Total)
	}
	b.WriteString(outcomeTable(p.Ended))
	return b.String()
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
