package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory/plans"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// A resume of selected devices is a plan, which goes on when its terminal is gone. The same command finds it again.
func TestAResumeOfSelectedDevicesOutlivesItsTerminal(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	b.state, b.confirmAbove = t.TempDir(), ""
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	b.hooks = &hooks{started: func(string) { interrupt() }}
	command := []string{"devices", "--all", "--reason", "all checked", "--confirm", "3"}
	o := b.runWith(ctx, "", append([]string{"resume", "-o", "json", "--as", "alice"}, command...)...)
	b.hooks = nil
	var report printer.ResumeReport
	o.json(t, &report)
	require.Equal(t, 6, o.code, o.stderr)
	require.Len(t, report.Unknown, 3, "the plan asks them all")
	require.Contains(t, report.Unknown[0].Message, "no answer yet, and plan "+report.PlanID+" goes on")
	require.Contains(t, o.stderr, "end it with `starter resume --abort "+report.PlanID+"`")

	b.work()
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		b.until(name, runbook.StateNormal)
	}
	again, code := b.resume(command...) // which asks for no other count
	require.Equal(t, 0, code)
	require.Equal(t, report.PlanID, again.PlanID)
	require.Equal(t, []string{"web-1", "web-2", "web-3"}, again.Resumed)
	b.nothingToGoOnWith()
	rows, err := b.store.Transitions(t.Context(), runbook.DefaultOrgID, "web-1", 1)
	require.NoError(t, err)
	require.Equal(t, []string{"alice", "all checked"}, []string{rows[0].Actor, rows[0].Reason})
	_, code = b.resume(command...)
	require.Equal(t, 3, code)
}

// Without a worker the command ends and says so; the plan waits for one.
func TestAResumeOfSelectedDevicesGivesUp(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	begin := time.Now()
	report, code := b.resume("devices", "--all", "--timeout", "1s")
	require.Equal(t, 4, code)
	require.Less(t, time.Since(begin), time.Minute)
	require.Len(t, report.Unknown, 3)
	require.False(t, report.Interrupted)
	b.work()
	b.until("web-3", runbook.StateNormal)
}

// A request id names one decision: its first answers are given again, and whoever is paused later is asked then.
func TestASelectionUnderOneRequestIDIsOneDecision(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	paris := []string{"devices", "-l", "site in (paris,berlin)", "--request-id", "ticket 4711"}
	first, code := b.resume(paris...)
	require.Equal(t, 0, code)
	again, code := b.resume(paris...)
	require.Equal(t, 0, code)
	require.Equal(t, first.Resumed, again.Resumed)
	require.Equal(t, first.PlanID, again.PlanID)

	b.reported("web-4", "8", runbook.StateConflictPaused)
	more, code := b.resume(paris...)
	require.Equal(t, 0, code)
	require.NotEqual(t, first.PlanID, more.PlanID)
	require.ElementsMatch(t, append([]string{"web-4"}, first.Resumed...), more.Resumed)
	b.until("web-4", runbook.StateNormal)

	text := b.ok(append([]string{"resume", "--as", "alice"}, paris...)...)
	require.Contains(t, text, "device/web-1: resumed, version 8 is rendered next (reported 7)")

	other, code := b.resume("devices", "--all", "--request-id", "ticket 4711")
	require.Equal(t, 3, code, "another selection is another decision: %v", other)
}

// Who was not asked because a person has ended the plan is named, and is asked by the same command.
func TestASelectionWhosePlanWasEnded(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	all := []string{"devices", "--all", "--request-id", "one"}
	b.hooks = &hooks{start: func(id string) {
		planID := strings.TrimPrefix(id, runbook.ResumeWorkflowID(""))
		require.NoError(t, plans.Plans{DB: b.store.DB()}.Move(t.Context(), planID, runbook.PlanAborted, "bob", "too early"))
	}}
	report, code := b.resume(all...)
	require.Equal(t, 4, code)
	require.Equal(t, []string{"web-1", "web-2", "web-3"}, report.NotAsked)
	require.Contains(t, b.ok("plan", "show", report.PlanID), "ended by bob: too early")
	b.hooks = nil
	report, code = b.resume(all...)
	require.Equal(t, 0, code)
	require.Len(t, report.Resumed, 3)
}

// What the workers demand of a plan is the answer of each of its devices.
func TestASelectionThatTheWorkersRefuse(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	b.policy = runbook.ResumePolicy{RequireReason: true, MaxShare: 0.5}
	b.work()
	for _, refused := range []struct {
		code runbook.Code
		args []string
	}{
		{runbook.CodeReasonRequired, []string{"devices", "--all"}},
		{runbook.CodePlanTooLarge, []string{"devices", "--all", "--reason", "checked"}},
	} {
		report, code := b.resume(refused.args...)
		require.Equal(t, 4, code)
		require.Len(t, report.Refused, 3)
		require.Equal(t, refused.code, report.Refused[0].Code)
	}
	report, code := b.resume("devices", "-l", "site=berlin", "--reason", "checked")
	require.Equal(t, 0, code)
	require.Equal(t, []string{"web-1", "web-2"}, report.Resumed)
}

// No plan can hold a device that no restore waits for: it answers as one that is named does.
func TestASelectionThatNoRestoreWaitsFor(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	b.ok("cancel", "first", "--reason", "wrong backup")
	report, code := b.resume("devices", "--all")
	require.Equal(t, 3, code)
	require.Len(t, report.Refused, 3)
	require.Equal(t, runbook.CodeNoRollCall, report.Refused[0].Code)
	require.Contains(t, report.Refused[0].Message, "no restore runs that has it on its roll")
	require.Empty(t, report.PlanID)
	require.Equal(t, "[]\n", b.ok("plan", "list", "-o", "json"))
}
