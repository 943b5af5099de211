package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Three signals as large as Temporal takes them leave a workflow that still answers: nothing that it keeps quotes them.
func TestLargeSignalsAreRefusedAndTheWorkflowGoesOn(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).request("new", "0", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("new")) })
	for _, letter := range []string{"x", "y", "z"} {
		long := map[string]string{strings.Repeat(letter, 1_900_000): ""}
		s.signal("web-1", runbook.SignalResume, long)
		require.NoError(t, s.client.SignalWorkflow(t.Context(), enrollmentID("new"), "", runbook.SignalApprove, long))
	}
	s.eventually("each is refused", func() bool {
		status, err := s.status("web-1")
		return err == nil && len(status.Timeline) > 0 && max(1, status.Timeline[0].Times)*len(status.Timeline) == 3 &&
			status.Timeline[0].Code == runbook.CodeInvalidRequest
	})
	s.reports("web-1", "5")
	require.True(t, s.decide("new", runbook.UpdateDeny, "by-alice", runbook.DenyRequest{By: "alice"}).Accepted)
	_, err := s.result(run)
	require.NoError(t, err)
}

// The same by updates, of which only the signals' way was bounded.
func TestLargeUpdatesAreTurnedAwayAndTheWorkflowGoesOn(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).request("new", "0", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.reports("web-1", "7")
	s.await("web-1", runbook.StateConflictPaused)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("new")) })
	long := strings.Repeat("x", 1_200_000)
	for _, id := range []string{"u1", "u2", "u3"} {
		for _, attack := range []struct {
			workflow, update string
			request          map[string]string
		}{
			{deviceID("web-1"), runbook.UpdateResume, map[string]string{"by": "mallory", "reason": "y", "plan": long}},
			{deviceID("web-1"), runbook.UpdateResume, map[string]string{"by": "mallory", "reason": "y", "plan": long[:60_000]}},
			{enrollmentID("new"), runbook.UpdateApprove, map[string]string{"by": "mallory", "expectKey": "z", long: ""}},
		} {
			handle, err := s.client.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
				WorkflowID: attack.workflow, UpdateName: attack.update, UpdateID: fmt.Sprint(id, len(attack.request["plan"])),
				Args: []any{attack.request}, WaitForStage: client.WorkflowUpdateStageCompleted,
			})
			if err == nil {
				err = handle.Get(t.Context(), nil)
			}
			var turnedAway *temporal.ApplicationError
			require.ErrorAs(t, err, &turnedAway)
			require.Equal(t, string(runbook.CodeInvalidRequest), turnedAway.Type())
		}
	}
	status, err := s.status("web-1")
	require.NoError(t, err)
	require.Len(t, status.Timeline, 1, "only its report")
	refused, err := s.store.Audit(t.Context(), inventory.AuditQuery{Refused: true})
	require.NoError(t, err)
	require.Empty(t, refused)
	require.True(t, s.decide("new", runbook.UpdateDeny, "by-alice", runbook.DenyRequest{By: "alice"}).Accepted)
	s.signal("web-1", runbook.SignalResume, runbook.ResumeRequest{By: "alice"})
	_, err = s.result(run)
	require.NoError(t, err)
}
