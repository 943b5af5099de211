package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	"rollcall/inventory"
	"rollcall/runbook"
)

// onRoll puts the devices on the roll of r1 before its workflow starts, so that they are there before they are called.
func (s *site) onRoll() {
	s.t.Helper()
	_, err := s.working.OpenRestore(s.t.Context(), inventory.OpenRestoreInput{ID: "r1"})
	require.NoError(s.t, err)
	_, err = s.working.PutOnRoll(s.t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(s.t, err)
}

// there is a fleet of which four devices are there when the restore comes to them: back, ahead and odd have reported,
// and gone was deleted.
func there(t *testing.T, in runbook.RestoreInput) (*site, func() runbook.RestoreStatus) {
	t.Helper()
	s := newSite(t).startWorker().fleet(map[string]string{
		"back": "5", "ahead": "5", "odd": "5", "gone": "5", "late-1": "5", "late-2": "5",
	})
	s.onRoll()
	s.notes("back", "5")
	s.notes("ahead", "7")
	s.notes("odd", "007")
	s.flightControl(fcDeletes, "gone")
	gone := []inventory.PendingSignal{{OrgID: runbook.DefaultOrgID, Name: "gone"}}
	require.NoError(t, s.working.CallFirst(t.Context(), "r1", gone))
	in.RestoreID = "r1"
	run := s.restore(in)
	s.eventually("the first workflows are there", func() bool {
		for _, name := range []string{"back", "ahead", "odd", "gone"} {
			if _, err := s.client.DescribeWorkflowExecution(t.Context(), deviceID(name), ""); err != nil {
				return false
			}
		}
		return true
	})
	return s, func() runbook.RestoreStatus {
		t.Helper()
		status, err := s.result(run)
		require.NoError(t, err)
		return status
	}
}

// Devices that are there begin with what they have reported, and need no signal.
func TestDevicesThatAreThere(t *testing.T) {
	t.Parallel()
	s, result := there(t, runbook.RestoreInput{BatchSize: 2, WatchInterval: "0"})
	require.Equal(t, runbook.OutcomeNormal, s.outcome("back").Outcome)
	require.Equal(t, runbook.OutcomeWithdrawn, s.outcome("gone").Outcome)
	s.await("ahead", runbook.StateConflictPaused)
	tasks := 0
	for _, event := range s.events(deviceID("back"), "") {
		if event.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED {
			tasks++
		}
	}
	require.Equal(t, 1, tasks, "it is answered in its first workflow task")
	s.eventually("the refusal is on the timeline", func() bool {
		status, err := s.status("odd")
		return err == nil && len(status.Timeline) == 1 && status.Timeline[0].Code == runbook.CodeInvalidVersion
	})
	decision, err := s.resume("ahead", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted)
	for _, name := range []string{"odd", "late-1", "late-2"} {
		s.await(name, runbook.StateAwaitingReconnect)
		s.reports(name, "5")
	}
	status := result()
	require.EqualValues(t, 5, status.Counts[runbook.StateNormal])
	require.EqualValues(t, 1, status.Counts[runbook.StateWithdrawn])
	// The restore was open before its workflow started, so that the device's workflow reads the story, too.
	require.LessOrEqual(t, len(s.events(deviceID("ahead"), "")), 22)
}
