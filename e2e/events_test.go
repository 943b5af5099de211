package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// What a device's own history costs: the way back to normal, and the way by a conflict and a decision, by name or by a
// plan.
func TestWhatADeviceCosts(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"back": "5", "conflict": "5", "planned": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "night"})
	for _, name := range []string{"back", "conflict", "planned"} {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.reports("back", "5")
	s.reports("conflict", "7")
	s.reports("planned", "7")
	for _, name := range []string{"conflict", "planned"} {
		s.await(name, runbook.StateConflictPaused)
	}
	decision, err := s.resume("conflict", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted)
	s.plan("p", "planned")
	require.NoError(t, s.startPlan(runbook.PlanInput{PlanID: "p", By: "alice"}).Get(t.Context(), nil))
	_, err = s.result(run)
	require.NoError(t, err)
	normal, conflict := len(s.events(deviceID("back"), "")), len(s.events(deviceID("conflict"), ""))
	planned := len(s.events(deviceID("planned"), ""))
	t.Logf("normal path %d events, conflict path %d, by a plan %d", normal, conflict, planned)
	require.LessOrEqual(t, normal, 12)
	require.LessOrEqual(t, conflict, 22)
	require.LessOrEqual(t, planned, conflict+3)
}
