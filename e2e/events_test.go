package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// What a device's own history costs: the way back to normal, and the way by a conflict and a decision.
func TestWhatADeviceCosts(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"back": "5", "conflict": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	for _, name := range []string{"back", "conflict"} {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.reports("back", "5")
	s.reports("conflict", "7")
	s.await("conflict", runbook.StateConflictPaused)
	decision, err := s.resume("conflict", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted)
	_, err = s.result(run)
	require.NoError(t, err)
	normal, conflict := len(s.events(deviceID("back"), "")), len(s.events(deviceID("conflict"), ""))
	t.Logf("normal path %d events, conflict path %d", normal, conflict)
	require.LessOrEqual(t, normal, 12)
	require.LessOrEqual(t, conflict, 22)
}
