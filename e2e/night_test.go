package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
)

func TestAWholeNight(t *testing.T) {
	t.Parallel()
	for _, batchSize := range []int{0, 2} {
		t.Run(fmt.Sprintf("batch size %d", batchSize), func(t *testing.T) {
			t.Parallel()
			s := newSite(t).startWorker().fleet(map[string]string{
				"equal": "5", "behind": "5", "ahead": "5", "asked": "9", "gone": "1",
			})
			run := s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: batchSize, By: "test"})
			for _, name := range []string{"equal", "behind", "ahead", "asked", "gone"} {
				s.await(name, runbook.StateAwaitingReconnect)
			}
			s.temporal("workflow", "signal", "--workflow-id", deviceID("equal"), "--name", "reconnect", "--input",
				`{"renderedVersion":"5"}`)
			s.temporal("workflow", "signal", "--workflow-id", deviceID("behind"), "--name", "reconnect", "--input",
				`{"renderedVersion":"4"}`)
			s.temporal("workflow", "signal", "--workflow-id", deviceID("ahead"), "--name", "reconnect", "--input",
				`{"renderedVersion":"7"}`)
			s.temporal("workflow", "signal", "--workflow-id", deviceID("asked"), "--name", "reconnect", "--input",
				`{"renderedVersion":"10"}`)
			s.await("ahead", runbook.StateConflictPaused)
			s.await("asked", runbook.StateConflictPaused)
			s.temporal("workflow", "signal", "--workflow-id", deviceID("ahead"), "--name", "resume",
				"--input", `{"by":"alice","reason":"checked on site","expectVersion":"7"}`)
			out := s.temporal("workflow", "update", "execute", "--workflow-id", deviceID("asked"), "--name", "resume",
				"--input", `{"by":"bob","expectVersion":"10"}`)
			require.Contains(t, out, `nextVersion`)
			s.temporal("workflow", "signal", "--workflow-id", deviceID("gone"), "--name", "withdraw", "--input",
				`{"by":"alice","force":true}`)

			status, err := s.result(run)
			require.NoError(t, err)
			require.Equal(t, runbook.RestoreCompleted, status.State)
			require.EqualValues(t, 5, status.Total)
			require.EqualValues(t, 4, status.Counts[runbook.StateNormal])
			require.EqualValues(t, 1, status.Counts[runbook.StateWithdrawn])
			require.NotNil(t, status.FinishedAt)
			require.Equal(t, status.Counts, s.tally("r1").Counts)
		})
	}
}

func TestWorkerStopsAndStartsInBetween(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"a": "5", "b": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("a", runbook.StateAwaitingReconnect)
	s.await("b", runbook.StateAwaitingReconnect)
	s.stopWorker()
	// All of this is kept for the worker, in one workflow task: the resume came when no one had seen a conflict.
	s.reports("a", "7")
	s.signal("a", runbook.SignalResume, runbook.ResumeRequest{By: "mallory"})
	s.reports("b", "5")
	s.startWorker()
	s.await("a", runbook.StateConflictPaused)
	status, err := s.status("a")
	require.NoError(t, err)
	require.Equal(t, runbook.CodeNotPaused, status.Timeline[0].Code)

	s.stopWorker()
	// A decision about 7 and a report of 8 in one task: the decision is about a version that the device no longer runs.
	s.signal("a", runbook.SignalResume, runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	s.reports("a", "8")
	s.startWorker()
	s.eventually("the report is read", func() bool {
		status, err = s.status("a")
		return err == nil && status.Reported == "8" && len(status.Timeline) == 4
	})
	require.Equal(t, runbook.StateConflictPaused, status.State)
	require.Equal(t, runbook.CodeVersionChanged, status.Timeline[3].Code)

	decision, err := s.resume("a", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "8"})
	require.NoError(t, err)
	require.Equal(t, "9", decision.Next)
	again, err := s.resume("a", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "8"})
	require.NoError(t, err)
	require.Equal(t, decision.Accepted, again.Accepted, "the same update id gets the first answer, also after the end")
	done, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Counts[runbook.StateNormal])
}

func TestSupersede(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"back": "5", "waits": "5", "paused": "5"})
	first := s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: 2})
	for _, name := range []string{"back", "waits", "paused"} {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.reports("back", "5")
	s.reports("paused", "7")
	s.await("paused", runbook.StateConflictPaused)
	s.eventually("back is back", func() bool { return s.tally("r1").Counts[runbook.StateNormal] == 1 })

	refused := s.restore(runbook.RestoreInput{RestoreID: "r2"})
	_, err := s.result(refused)
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, string(runbook.CodeRestoreRunning), app.Type())

	second := s.restore(runbook.RestoreInput{RestoreID: "r3", Supersede: true})
	ended, err := s.result(first)
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreSuperseded, ended.State)
	require.EqualValues(t, 1, ended.Counts[runbook.StateConflictPaused],
		"the tally of a superseded restore stays as it was")
	s.eventually("every device waits for the new restore", func() bool {
		for _, name := range []string{"back", "waits", "paused"} {
			status, err := s.status(name)
			if err != nil || status.RestoreID != "r3" || status.State != runbook.StateAwaitingReconnect {
				return false
			}
		}
		return true
	})
	for _, name := range []string{"back", "waits", "paused"} {
		s.reports(name, "5")
	}
	done, err := s.result(second)
	require.NoError(t, err)
	require.EqualValues(t, 3, done.Counts[runbook.StateNormal])
}

func TestTerminatedRestoreIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"back": "5", "waits": "5", "paused": "5"})
	s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: 2})
	for _, name := range []string{"back", "waits", "paused"} {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.reports("back", "5")
	s.reports("paused", "7")
	s.await("paused", runbook.StateConflictPaused)
	s.eventually("back is back", func() bool { return s.tally("r1").Counts[runbook.StateNormal] == 1 })
	require.NoError(t, s.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), "", "by mistake"))
	s.eventually("its children end with it", func() bool {
		return !s.runs(deviceID("waits")) && !s.runs(deviceID("paused"))
	})

	run := s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: 2})
	s.await("paused", runbook.StateConflictPaused)
	s.await("waits", runbook.StateAwaitingReconnect)
	decision, err := s.resume("paused", "u1", runbook.ResumeRequest{By: "alice"})
	require.NoError(t, err)
	require.Equal(t, "8", decision.Next)
	s.reports("waits", "5")
	done, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 3, done.Counts[runbook.StateNormal])
}

func TestCancelAndTakeUpAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"a": "5", "b": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("a", runbook.StateAwaitingReconnect)
	require.NoError(t, s.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	_, err := s.result(run)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Equal(t, runbook.RestoreCancelled, s.tally("r1").State)
	require.EqualValues(t, 2, s.tally("r1").Counts[runbook.StateAwaitingReconnect])

	run = s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("a", runbook.StateAwaitingReconnect)
	s.await("b", runbook.StateAwaitingReconnect)
	s.reports("a", "5")
	s.reports("b", "4")
	done, err := s.result(run)
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreCompleted, done.State)
}

func TestInterruptedDeviceIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"a": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("a", runbook.StateAwaitingReconnect)
	s.reports("a", "7")
	s.await("a", runbook.StateConflictPaused)
	require.NoError(t, s.client.TerminateWorkflow(t.Context(), deviceID("a"), "", "by mistake"))
	s.await("a", runbook.StateConflictPaused)
	decision, err := s.resume("a", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted)
	_, err = s.result(run)
	require.NoError(t, err)
}

func TestUpdateWithoutAWorkerIsUnknownAndThenApplied(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"a": "5"})
	s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("a", runbook.StateAwaitingReconnect)
	s.reports("a", "7")
	s.await("a", runbook.StateConflictPaused)
	s.stopWorker()
	answered := make(chan error, 1)
	go func() {
		_, err := s.resume("a", "u1", runbook.ResumeRequest{By: "alice"})
		answered <- err
	}()
	s.startWorker()
	select {
	case err := <-answered:
		require.NoError(t, err)
	case <-time.After(waitLimit):
		t.Fatal("the update was never answered")
	}
}

func TestOneBadMessageHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"a": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("a", runbook.StateAwaitingReconnect)
	for signal, payload := range map[string]string{
		"reconnect": `{"renderedVersion":"7\u0000"}`,
		"withdraw":  `{"by":"a\u0000b"}`,
		"resume":    `{"by":"a","reason":"x\u0000"}`,
	} {
		s.temporal("workflow", "signal", "--workflow-id", deviceID("a"), "--name", signal, "--input", payload)
	}
	s.reports("a", "7")
	s.await("a", runbook.StateConflictPaused)
	_, err := s.resume("a", "u1", runbook.ResumeRequest{By: "a", Reason: "x\x00"})
	require.ErrorContains(t, err, "NUL")
	handle, err := s.client.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: deviceID("a"), UpdateID: "u2", UpdateName: runbook.UpdateResume,
		WaitForStage: client.WorkflowUpdateStageCompleted,
		Args:         []any{map[string]string{"by": "eve", "exepctVersion": "99"}},
	})
	require.NoError(t, err)
	require.ErrorContains(t, handle.Get(t.Context(), nil), "exepctVersion",
		"a guard that is mistyped is not silently gone")
	s.await("a", runbook.StateConflictPaused)
	decision, err := s.resume("a", "u3", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted)
	_, err = s.result(run)
	require.NoError(t, err)
}

func TestCancelWhileItOpens(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"a": "5"})
	tx, err := s.owner.DB().BeginTxx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.Exec(`lock table rollcall.restores in access exclusive mode`)
	require.NoError(t, err)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.eventually("it is opening", func() bool {
		d, err := s.client.DescribeWorkflowExecution(t.Context(), runbook.RestoreWorkflowID("r1"), "")
		return err == nil && len(d.GetPendingActivities()) > 0
	})
	require.NoError(t, s.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	require.NoError(t, tx.Rollback())
	_, err = s.result(run)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Equal(t, runbook.RestoreCancelled, s.tally("r1").State, "nothing is left open that no one would close")
	second := s.restore(runbook.RestoreInput{RestoreID: "r2"})
	s.await("a", runbook.StateAwaitingReconnect)
	s.reports("a", "5")
	_, err = s.result(second)
	require.NoError(t, err)
}
