package e2e

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/runbook"
)

// newRestartingSite is a site with a Temporal server of its own and its settings, which the returned function restarts.
func newRestartingSite(t *testing.T, dynamic ...string) (s *site, restart func()) {
	t.Helper()
	s = &site{t: t, database: devtest.Database(t), taskQueue: devtest.TaskQueue(t)}
	s.connect()
	dir := t.TempDir()
	var server *devenv.Temporal
	start := func() {
		t.Helper()
		var err error
		server, err = devenv.StartTemporal(t.Context(), devenv.TemporalConfig{
			Dir: dir, UIPort: devenv.NoUI, SearchAttributes: runbook.SearchAttributes, Dynamic: dynamic,
		})
		require.NoError(t, err)
		s.server = devtest.Server{Address: server.Address(), Namespace: server.Namespace()}
		s.client = s.server.Client(t, host.DisableStickyQueue)
	}
	start()
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	t.Cleanup(func() { requireNoViolation(t, s.owner) })
	return s, func() {
		t.Helper()
		require.NoError(t, server.Stop())
		start()
	}
}

// ask sends an update and does not wait for its answer. The returned function gives it up.
func (s *site) ask(workflowID, update string, request any) (giveUp func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{ // no answer can come
			WorkflowID: workflowID, UpdateID: "lost", UpdateName: update, Args: []any{request},
			WaitForStage: client.WorkflowUpdateStageAccepted,
		})
	}()
	return func() { cancel(); <-done }
}

func (s *site) holds(query string) bool {
	var found bool
	return s.owner.DB().GetContext(s.t.Context(), &found, query) == nil && found
}

// A resume and an approval are committed, and then the worker, whoever has asked, and Temporal die together, before
// Temporal has the updates in a history. Temporal forgets them. The device's workflow still waits for a human, and no
// workflow runs for the device that was let in.
func TestDecisionsWhoseUpdatesAreLostTakeEffect(t *testing.T) {
	t.Parallel()
	s, restart := newRestartingSite(t)
	s.fleet(map[string]string{"decided": "5"}).request("approved", "7", pending)
	direct := s.server.Address
	proxy, _ := devtest.NewProxy(t, "tcp://"+direct)
	s.server.Address = proxy.Address()
	worker := s.workerProcess()
	s.server.Address = direct
	s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	s.await("decided", runbook.StateAwaitingReconnect)
	s.reports("decided", "7")
	s.await("decided", runbook.StateConflictPaused)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("approved")) })

	gate := s.owner.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`select from devices where name = 'decided' for update`)
	gate.MustExec(`select from enrollment_requests where name = 'approved' for update`)
	giveUpResume := s.ask(deviceID("decided"), runbook.UpdateResume,
		runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	giveUpApproval := s.ask(enrollmentID("approved"), runbook.UpdateApprove, runbook.ApproveRequest{By: "alice"})
	s.eventually("the worker is about to write both decisions", func() bool {
		return s.holds(`select count(*) = 2 from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`)
	})
	proxy.Freeze() // Temporal hears no more of it
	require.NoError(t, gate.Rollback())
	s.eventually("both decisions are written", func() bool {
		return s.holds(`select count(*) = 2 from rollcall.roll where resumed_by = 'alice' or name = 'approved'`)
	})
	require.NoError(t, worker.Process.Kill())
	giveUpResume()
	giveUpApproval()
	restart()

	s.startWorker()
	again := s.decide("approved", runbook.UpdateApprove, "again", runbook.ApproveRequest{By: "bob"})
	require.Equal(t, runbook.CodeAlreadyApproved, again.Code)
	require.Equal(t, "alice", again.By)
	require.Equal(t, "r1", again.RestoreID, "the answer names the restore that the device has joined")
	s.await("approved", runbook.StateAwaitingReconnect)
	s.reports("approved", "0")
	status, err := s.result(s.client.GetWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreCompleted, status.State)
	require.EqualValues(t, 2, status.Counts[runbook.StateNormal])
	require.Equal(t, "alice", s.outcome("decided").By)
}

// The same with decisions about requests. Nothing watches the inventory, and no one asks again.
func TestDecisionsAboutRequestsWhoseUpdatesAreLostTakeEffect(t *testing.T) {
	t.Parallel()
	s, restart := newRestartingSite(t)
	s.fleet(map[string]string{"web-1": "5"}).request("approved", "7", pending).request("denied", "7", pending)
	direct := s.server.Address
	proxy, _ := devtest.NewProxy(t, "tcp://"+direct)
	s.server.Address = proxy.Address()
	worker := s.workerProcess()
	s.server.Address = direct
	s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the requests have workflows", func() bool {
		return s.runs(enrollmentID("approved")) && s.runs(enrollmentID("denied"))
	})

	gate := s.owner.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`select from enrollment_requests for update`)
	giveUpApproval := s.ask(enrollmentID("approved"), runbook.UpdateApprove, runbook.ApproveRequest{By: "alice"})
	giveUpDenial := s.ask(enrollmentID("denied"), runbook.UpdateDeny, runbook.DenyRequest{By: "alice"})
	s.eventually("the worker is about to write both decisions", func() bool {
		return s.holds(`select count(*) = 2 from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`)
	})
	proxy.Freeze() // Temporal hears no more of it
	require.NoError(t, gate.Rollback())
	s.eventually("both decisions are written", func() bool {
		return s.holds(`select count(*) = 2 from rollcall.transitions where actor = 'alice'`)
	})
	require.NoError(t, worker.Process.Kill())
	giveUpApproval()
	giveUpDenial()
	restart()

	s.startWorker()
	s.await("approved", runbook.StateAwaitingReconnect)
	require.Equal(t, runbook.EnrollmentDenied, s.enrolled("denied").Decision.State)
	for name, version := range map[string]string{"approved": "0", "web-1": "5"} {
		s.reports(name, version)
	}
	require.Equal(t, "alice", s.enrolled("approved").Decision.By)
	status, err := s.result(s.client.GetWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Counts[runbook.StateNormal])
}
