package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/worker"

	"rollcall/runbook"
)

// A human decides days after the worker last had anything to do with the workflow, which has dropped it meanwhile. The
// decision's task must not fail for that, as it does with Temporal before 1.31 where the task goes to that worker: so
// all of their tasks go to any worker, whatever they last did. (Not in parallel: what the worker has dropped is
// dropped for all tests.)
func TestADecisionAboutWhatTheWorkerHasDropped(t *testing.T) {
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5"}).request("late", "",
		pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.reports("web-1", "7")
	s.reports("web-2", "7")
	s.await("web-1", runbook.StateConflictPaused)
	s.await("web-2", runbook.StateConflictPaused)
	s.reports("web-2", "8")
	s.reports("web-2", "8") // says nothing new, so that its task has nothing to write
	s.eventually("both are noted", func() bool {
		status, err := s.status("web-2")
		return err == nil && status.Reported == "8" &&
			s.count(deviceID("web-2"), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) == 3
	})
	_, err := s.resume("web-1", "by-no-one", runbook.ResumeRequest{ExpectVersion: "7"})
	require.Error(t, err, "a decision that is refused leaves the device paused")
	s.eventually("the request's workflow has answered its first task", func() bool {
		return s.runs(enrollmentID("late")) && s.count(enrollmentID("late"), enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) > 0
	})

	worker.PurgeStickyWorkflowCache()
	early, err := s.resume("web-3", "early", runbook.ResumeRequest{By: "alice"})
	require.NoError(t, err)
	require.False(t, early.Accepted, "it has not reported yet")
	for name, version := range map[string]string{"web-1": "7", "web-2": "8"} {
		decision, err := s.resume(name, "by-alice", runbook.ResumeRequest{By: "alice", ExpectVersion: version})
		require.NoError(t, err)
		require.True(t, decision.Accepted, decision.Message)
	}
	require.True(t,
		s.decide("late", runbook.UpdateDeny, "by-alice", runbook.DenyRequest{By: "alice", Reason: "not ours"}).Accepted)
	s.reports("web-3", "5")

	_, err = s.result(run)
	require.NoError(t, err)
	for _, id := range []string{deviceID("web-1"), deviceID("web-2"), deviceID("web-3"), enrollmentID("late")} {
		require.Zero(t, s.count(id, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), id)
		for _, event := range s.events(id, "") {
			if task := event.GetWorkflowTaskScheduledEventAttributes(); task != nil {
				require.Equal(t, enumspb.TASK_QUEUE_KIND_NORMAL, task.GetTaskQueue().GetKind(), "%s, event %d", id,
					event.GetEventId())
			}
		}
	}
}
