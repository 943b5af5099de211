//go:build record

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"

	"rollcall/runbook"
)

// recordings is where replay tests look. The folder is named after the release whose code records; what is there is
// never written again, because a history that is recorded again to make a test pass proves nothing.
func recordings(t *testing.T) string {
	t.Helper()
	release := os.Getenv("ROLLCALL_RECORD")
	require.NotEmpty(t, release, "set ROLLCALL_RECORD to the release, such as v1")
	dir := filepath.Join("..", "workflows", "testdata", release)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// record writes the history of a workflow's latest run.
func (s *site) record(workflowID, name string) {
	s.t.Helper()
	s.recordRun(workflowID, "", name)
}

func (s *site) recordRun(workflowID, runID, name string) {
	s.t.Helper()
	history := &historypb.History{Events: s.events(workflowID, runID)}
	text, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(history)
	require.NoError(s.t, err)
	file, err := os.OpenFile(filepath.Join(recordings(s.t), name+".json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	require.NoError(s.t, err, "histories are never re-recorded")
	_, err = file.Write(append(text, '\n'))
	require.NoError(s.t, err)
	require.NoError(s.t, file.Close())
}

// restored is a site with one restore of devices at version 5, all waiting.
func restored(t *testing.T, names ...string) (*site, client.WorkflowRun) {
	t.Helper()
	return restoredBy(t, runbook.RestoreInput{RestoreID: "r1", BatchSize: 2}, names...)
}

func restoredBy(t *testing.T, in runbook.RestoreInput, names ...string) (*site, client.WorkflowRun) {
	t.Helper()
	versions := map[string]string{}
	for _, name := range names {
		versions[name] = "5"
	}
	s := newSite(t).startWorker().fleet(versions)
	run := s.restore(in)
	for _, name := range names {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	return s, run
}

func (s *site) paused(name string) {
	s.t.Helper()
	s.reports(name, "7")
	s.await(name, runbook.StateConflictPaused)
}

func (s *site) timeline(name string, entries int) {
	s.t.Helper()
	s.eventually("the messages are read", func() bool {
		status, err := s.status(name)
		return err == nil && len(status.Timeline) >= entries
	})
}

func TestRecordDevices(t *testing.T) {
	const d = "web-7"
	alice := runbook.ResumeRequest{By: "alice", Reason: "checked on site"}
	for name, play := range map[string]func(*site){
		"device-awaiting":     func(*site) {},
		"device-normal":       func(s *site) { s.reports(d, "5") },
		"device-behind":       func(s *site) { s.reports(d, "4") },
		"device-never-ran":    func(s *site) { s.reports(d, "") },
		"device-paused":       func(s *site) { s.paused(d) },
		"device-reports-more": func(s *site) { s.paused(d); s.reports(d, "7"); s.reports(d, "8"); s.timeline(d, 3) },
		"device-resumed-by-update": func(s *site) {
			s.paused(d)
			_, err := s.resume(d, "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
			require.NoError(s.t, err)
		},
		"device-resumed-by-signal": func(s *site) { s.paused(d); s.signal(d, runbook.SignalResume, alice) },
		"device-resume-too-early": func(s *site) {
			s.signal(d, runbook.SignalResume, alice)
			s.timeline(d, 1)
			_, err := s.resume(d, "u1", alice)
			require.NoError(s.t, err)
			s.paused(d)
		},
		"device-messages-in-one-task": func(s *site) {
			s.stopWorker()
			s.signal(d, runbook.SignalResume, alice)
			s.reports(d, "7")
			s.signal(d, runbook.SignalWithdraw, nil)
			s.startWorker()
			s.timeline(d, 3)
		},
		"device-two-resumes-in-one-task": func(s *site) {
			s.paused(d)
			s.stopWorker()
			s.signal(d, runbook.SignalResume, alice)
			s.signal(d, runbook.SignalResume, runbook.ResumeRequest{By: "bob"})
			s.startWorker()
			s.timeline(d, 3)
		},
		"device-version-changed": func(s *site) {
			s.paused(d)
			s.reports(d, "8")
			s.timeline(d, 2)
			_, err := s.resume(d, "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
			require.NoError(s.t, err)
		},
		"device-unreadable-messages": func(s *site) {
			s.reports(d, "007")
			s.signal(d, runbook.SignalReconnect, 7)
			s.signal(d, runbook.SignalResume, runbook.ResumeRequest{})
			s.signal(d, runbook.SignalWithdraw, "x")
			s.timeline(d, 4)
		},
		"device-withdrawn": func(s *site) {
			s.signal(d, runbook.SignalWithdraw, runbook.WithdrawSignal{By: "alice", Force: true})
		},
		"device-withdrawn-paused": func(s *site) {
			s.paused(d)
			s.signal(d, runbook.SignalWithdraw, runbook.WithdrawSignal{Force: true})
		},
		"device-withdraw-refused": func(s *site) { s.signal(d, runbook.SignalWithdraw, nil); s.timeline(d, 1) },
		"device-cancelled": func(s *site) {
			s.paused(d)
			require.NoError(s.t, s.client.CancelWorkflow(s.t.Context(), runbook.RestoreWorkflowID("r1"), ""))
			s.eventually("it has ended", func() bool { return !s.runs(deviceID(d)) })
		},
		"device-database-away": func(s *site) {
			tx, err := s.owner.DB().BeginTxx(s.t.Context(), nil)
			require.NoError(s.t, err)
			_, err = tx.Exec(`LOCK TABLE rollcall.roll IN ACCESS EXCLUSIVE MODE`)
			require.NoError(s.t, err)
			s.reports(d, "7")
			s.eventually("a normal activity tries", func() bool {
				describe, err := s.client.DescribeWorkflowExecution(s.t.Context(), deviceID(d), "")
				return err == nil && len(describe.GetPendingActivities()) > 0
			})
			require.NoError(s.t, tx.Rollback())
			s.await(d, runbook.StateConflictPaused)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := restored(t, d)
			play(s)
			if outcomeExpected(name) {
				s.eventually("it has ended", func() bool { return !s.runs(deviceID(d)) })
			}
			s.record(deviceID(d), name)
		})
	}
}

func outcomeExpected(name string) bool {
	switch name {
	case "device-normal", "device-behind", "device-never-ran", "device-resumed-by-update", "device-resumed-by-signal",
		"device-withdrawn", "device-withdrawn-paused", "device-two-resumes-in-one-task":
		return true
	}
	return false
}

func TestRecordRestores(t *testing.T) {
	names := []string{"web-1", "web-2", "web-3"}
	t.Run("completed", func(t *testing.T) {
		t.Parallel()
		s, run := restored(t, names...)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-waiting")
		s.paused("web-3")
		for _, name := range names[:2] {
			s.reports(name, "5")
		}
		_, err := s.resume("web-3", "u1", runbook.ResumeRequest{By: "alice"})
		require.NoError(t, err)
		_, err = s.result(run)
		require.NoError(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-completed-in-batches")
		s.record(runbook.BatchWorkflowID("r1", 0), "batch-completed")
	})
	t.Run("completed without batches", func(t *testing.T) {
		t.Parallel()
		s, run := restored(t, "web-1", "web-2")
		s.reports("web-1", "5")
		s.reports("web-2", "5")
		_, err := s.result(run)
		require.NoError(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-completed")
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		s, run := restored(t, names...)
		require.NoError(t, s.client.SignalWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), "", runbook.SignalCancel,
			runbook.CancelSignal{By: "alice", Reason: "wrong backup"}))
		require.NoError(t, s.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
		_, err := s.result(run)
		require.Error(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-cancelled")
		s.record(runbook.BatchWorkflowID("r1", 0), "batch-cancelled")

		run = s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: 2})
		for _, name := range names {
			s.await(name, runbook.StateAwaitingReconnect)
			s.reports(name, "5")
		}
		_, err = s.result(run)
		require.NoError(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-taken-up-again")
	})
	t.Run("superseded", func(t *testing.T) {
		t.Parallel()
		s, run := restored(t, names...)
		_, err := s.result(s.restore(runbook.RestoreInput{RestoreID: "r2"}))
		require.Error(t, err)
		s.record(runbook.RestoreWorkflowID("r2"), "restore-refused")
		s.restore(runbook.RestoreInput{RestoreID: "r3", Supersede: true})
		_, err = s.result(run)
		require.NoError(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-superseded")
		s.eventually("the successor waits", func() bool {
			status, err := s.status("web-1")
			return err == nil && status.RestoreID == "r3"
		})
		s.record(runbook.RestoreWorkflowID("r3"), "restore-superseding")
	})
	t.Run("superseded device", func(t *testing.T) {
		t.Parallel()
		s, run := restored(t, "web-1")
		described, err := s.client.DescribeWorkflowExecution(t.Context(), deviceID("web-1"), "")
		require.NoError(t, err)
		old := described.GetWorkflowExecutionInfo().GetExecution().GetRunId()
		s.restore(runbook.RestoreInput{RestoreID: "r3", Supersede: true})
		_, err = s.result(run)
		require.NoError(t, err)
		s.recordRun(deviceID("web-1"), old, "device-superseded")
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		s, run := restored(t, "web-1")
		require.NoError(t, s.client.TerminateWorkflow(t.Context(), deviceID("web-1"), "", "by mistake"))
		s.await("web-1", runbook.StateAwaitingReconnect)
		s.reports("web-1", "5")
		_, err := s.result(run)
		require.NoError(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-started-a-device-again")
	})
}

func TestRecordEnrollments(t *testing.T) {
	const r = "new"
	approval := func(s *site) { s.approve(r, "alice"); s.await(r, runbook.StateAwaitingReconnect) }
	for name, play := range map[string]func(*site){
		"enrollment-pending": func(*site) {},
		"enrollment-approved-on-the-roll": func(s *site) {
			approval(s)
			s.reports(r, "7")
			s.await(r, runbook.StateConflictPaused)
			_, err := s.resume(r, "u1", runbook.ResumeRequest{By: "alice"})
			require.NoError(s.t, err)
			s.enrolled(r)
		},
		"enrollment-device-waits": approval,
		"enrollment-denied-by-signal": func(s *site) {
			require.NoError(s.t,
				s.client.SignalWorkflow(s.t.Context(), enrollmentID(r), "", runbook.SignalDeny, runbook.DenyRequest{By: "alice"}))
			s.enrolled(r)
		},
		"enrollment-two-approvals-in-one-task": func(s *site) {
			s.stopWorker()
			for _, by := range []string{"alice", "bob"} {
				require.NoError(s.t,
					s.client.SignalWorkflow(s.t.Context(), enrollmentID(r), "", runbook.SignalApprove, runbook.ApproveRequest{By: by}))
			}
			require.NoError(s.t, s.client.SignalWorkflow(s.t.Context(), enrollmentID(r), "", runbook.SignalDeny, "unreadable"))
			s.startWorker()
			s.await(r, runbook.StateAwaitingReconnect)
			s.reports(r, "0")
			s.enrolled(r)
		},
		"enrollment-device-superseded": func(s *site) {
			approval(s)
			s.restore(runbook.RestoreInput{RestoreID: "r2", Supersede: true})
			s.enrolled(r)
		},
		"enrollment-restore-cancelled": func(s *site) {
			approval(s)
			require.NoError(s.t, s.client.CancelWorkflow(s.t.Context(), runbook.RestoreWorkflowID("r1"), ""))
			s.enrolled(r)
			s.record(runbook.RestoreWorkflowID("r1"), "restore-cancelled-with-a-late-joiner")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t).startWorker().request(r, "7", pending).fleet(map[string]string{"web-1": "5"})
			s.restore(runbook.RestoreInput{RestoreID: "r1"})
			s.await("web-1", runbook.StateAwaitingReconnect)
			s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID(r)) })
			play(s)
			s.record(enrollmentID(r), name)
		})
	}
	t.Run("restore", func(t *testing.T) {
		t.Parallel()
		s := newSite(t).startWorker().request(r, "7", pending).fleet(map[string]string{"web-1": "5"})
		run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
		s.await("web-1", runbook.StateAwaitingReconnect)
		s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID(r)) })
		approval(s)
		s.reports("web-1", "5")
		s.eventually("the restore was refused to close", func() bool { return s.refusedToClose("r1") })
		s.record(runbook.RestoreWorkflowID("r1"), "restore-waiting-for-a-late-joiner")
		s.reports(r, "0")
		_, err := s.result(run)
		require.NoError(t, err)
		s.record(runbook.RestoreWorkflowID("r1"), "restore-completed-with-a-late-joiner")
	})
}

// refusedToClose reports whether an activity of the restore has failed, of which only the close can.
func (s *site) refusedToClose(id string) bool {
	return s.count(runbook.RestoreWorkflowID(id), enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED) > 0
}
