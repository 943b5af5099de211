package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
