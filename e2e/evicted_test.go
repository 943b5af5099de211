package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/worker"

	"rollcall/runbook"
)

// A human decides days after the worker last had anything to do with the workflow, which has dropped it meanwhile. The
// decision's task must not fail for that, as it does with Temporal before 1.31 where the task goes to that worker.
func TestADecisionAboutWhatTheWorkerHasDropped(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5", "web-2": "5"}).request("late", "", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.await("web-2", runbook.StateAwaitingReconnect)
	s.reports("web-1", "7")
	s.reports("web-2", "7")
	s.await("web-1", runbook.StateConflictPaused)
	s.await("web-2", runbook.StateConflictPaused)
	s.reports("web-2", "8") // a paused device whose newest version has been noted waits for a human as well
	s.eventually("the newer version is noted", func() bool {
		status, err := s.status("web-2")
		return err == nil && status.Reported == "8"
	})
	_, err := s.resume("web-1", "by-nobody", runbook.ResumeRequest{ExpectVersion: "7"})
	require.Error(t, err, "a decision that is refused leaves the device paused")
	s.eventually("the request's workflow has answered its first task", func() bool {
		return s.runs(enrollmentID("late")) && s.count(enrollmentID("late"), enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) > 0
	})

	worker.PurgeStickyWorkflowCache()
	for name, version := range map[string]string{"web-1": "7", "web-2": "8"} {
		decision, err := s.resume(name, "by-alice", runbook.ResumeRequest{By: "alice", ExpectVersion: version})
		require.NoError(t, err)
		require.True(t, decision.Accepted, decision.Message)
	}
	require.True(t, s.decide("late", runbook.UpdateDeny, "by-alice", runbook.DenyRequest{By: "alice", Reason: "not ours"}).Accepted)

	_, err = s.result(run)
	require.NoError(t, err)
	for _, id := range []string{deviceID("web-1"), deviceID("web-2"), enrollmentID("late")} {
		require.Zero(t, s.count(id, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), id)
	}
}
