package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

func TestReconnectReportsWhatCameOfIt(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"}, device{name: "web-3", version: "5"})
	b.restored("first")
	const review = "; review it with\n  starter describe device web-1\n"
	require.Equal(t, "device/web-1: ConflictPaused, reported version 7 (restored 5)"+review, b.ok("reconnect", "device", "web-1", "--rendered-version", "7"))
	for range 2 {
		require.Contains(t, b.ok("reconnect", "device", "web-1", "--rendered-version", "7"), "ConflictPaused, reported version 7", "the same again is only counted, and is answered as well")
	}
	require.Equal(t, "device/web-1: ConflictPaused, reported version 4 (restored 5)"+review, b.ok("reconnect", "device", "web-1", "--rendered-version", "4"))
	require.Equal(t, "device/web-2: back to normal, reported version 4 (restored 5)\n", b.ok("reconnect", "device", "web-2", "--rendered-version", "4"))
	require.Equal(t, runbook.StateNormal, mustState(t, b, "web-2"))

	b.decommission("web-3")
	require.Contains(t, b.ok("reconnect", "device", "web-3", "--rendered-version", "5"), "device/web-3: withdrawn")
}

func (b *bench) decommission(name string) {
	b.t.Helper()
	_, err := b.store.DB().ExecContext(b.t.Context(), `update devices set status = jsonb_set(status, '{lifecycle}', '{"status":"Decommissioned"}') where name = $1`, name)
	require.NoError(b.t, err)
}

// TestAReportThatADyingRestoreGotIsSentAgain lets a newer restore have taken over in the database while the older one's
// workflow still listens.
func TestAReportThatADyingRestoreGotIsSentAgain(t *testing.T) {
	t.Parallel()
	dyingRestoreGets(t, nil)
}

// TestAReportWhoseWorkflowCouldNotBeAskedBeforeIsSentAgain has no story from before the report to see the answer by, as
// where the workflow has had no task yet.
func TestAReportWhoseWorkflowCouldNotBeAskedBeforeIsSentAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	dyingRestoreGets(t, &hooks{query: func() error {
		if asked.Add(1) == 1 {
			return serviceerror.NewWorkflowNotReady("workflow task is not scheduled yet")
		}
		return nil
	}})
	require.Positive(t, asked.Load())
}

func dyingRestoreGets(t *testing.T, h *hooks) {
	t.Helper()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	runs := func() bool {
		run, err := b.client.DescribeWorkflowExecution(t.Context(), runbook.DeviceWorkflowID(runbook.DefaultOrgID, "web-1"), "")
		return err == nil && run.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	require.Eventually(t, runs, 20*time.Second, 20*time.Millisecond, "the device's workflow has not been started")
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "second", Supersede: true})
	require.NoError(t, err)
	b.hooks = h
	done := make(chan outcome, 1)
	go func() { done <- b.run("reconnect", "device", "web-1", "--rendered-version", "7", "--timeout", "60s") }()
	require.Eventually(t, func() bool { return !runs() }, 20*time.Second, 20*time.Millisecond, "the older restore's workflow is told and ends")
	b.ok("restore", "--id", "second", "--supersede")
	o := <-done
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "device/web-1: ConflictPaused, reported version 7")
	require.Equal(t, int64(1), b.tally("second").Counts[runbook.StateConflictPaused])
}

// TestACancelThatIsReadLateStillSaysWhoAndWhy lets everything that the command sends wait for a worker together.
func TestACancelThatIsReadLateStillSaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	stopWorker := b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	b.ok("cancel", "first", "--reason", "wrong id", "--as", "bob")
	// Taken up again, the restore lets a moment pass before it goes on.
	again := make(chan outcome, 1)
	go func() { again <- b.run("restore", "--id", "first") }()
	defer func() { <-again }()
	require.Eventually(t, func() bool { return b.tally("first").State == runbook.RestoreRunning }, 20*time.Second, 20*time.Millisecond)
	stopWorker()
	o := b.run("cancel", "first", "--reason", "wrong backup", "--as", "alice", "--timeout", "1s")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "outcome unknown")
	b.work()
	run := b.client.GetWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "")
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, run.Get(t.Context(), nil), &cancelled)
	var by string
	require.NoError(t, b.store.DB().GetContext(t.Context(), &by, `select closed_by || ': ' || reason from rollcall.restores`))
	require.Equal(t, "alice: wrong backup", by)
}

func TestResumeInBulkIsAboutTheConflictsThatWereSelected(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	b.hooks = &hooks{update: func(id string) {
		if strings.HasSuffix(id, "web-2") {
			b.run("reconnect", "device", "web-2", "--rendered-version", "9") // and waits until it is read
		}
	}}
	report, code := b.resume("devices", "--all")
	require.Equal(t, 4, code)
	require.Equal(t, []string{"web-1", "web-3"}, report.Resumed)
	require.Equal(t, runbook.CodeVersionChanged, report.Refused[0].Code, "nobody saw the conflict with 9")
	report, code = b.resume("device", "web-2")
	require.Equal(t, 0, code, "who names a device means it: %v", report.Refused)
}

func TestADryRunDoesNotPromiseWhoIsOnTheWayOut(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	b.decommission("web-1")
	_, err := b.store.DB().ExecContext(t.Context(), `update devices set deleted_at = now() where name = 'web-2'`)
	require.NoError(t, err)
	report, code := b.resume("device", "web-1", "web-2", "web-3", "--dry-run")
	require.Equal(t, 4, code)
	require.Len(t, report.WouldResume, 1)
	require.Len(t, report.Refused, 2)
	require.Equal(t, runbook.CodeNotWaiting, report.Refused[0].Code)
	require.Contains(t, report.Refused[0].Message, "Decommissioned")
	report, code = b.resume("devices", "--all", "--dry-run")
	require.Equal(t, 4, code)
	require.Len(t, report.WouldResume, 1)
	require.NotContains(t, b.ok("describe", "device", "web-1"), "a resume renders", "describe does not promise it either")
}

// TestARestoreIsTakenUpAgainAtOnce lets the restore be over in the database a moment before its workflow is.
func TestARestoreIsTakenUpAgainAtOnce(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	_, err := b.store.CloseRestore(t.Context(), inventory.CloseRestoreInput{RestoreID: "first", State: runbook.RestoreCancelled, By: "alice"})
	require.NoError(t, err)
	var starts atomic.Int32
	b.hooks = &hooks{start: func() { starts.Add(1) }}
	done := make(chan outcome, 1)
	go func() { done <- b.run("restore", "--id", "first") }()
	require.Eventually(t, func() bool { return starts.Load() >= 2 }, time.Minute, 10*time.Millisecond, "it asks again after the first refusal")
	require.NoError(t, b.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), ""))
	o := <-done
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "restore first is Running with 1 device on its roll")
}
