//go:build record

package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// TestRecordThere is of devices that are there before they are called, and of the batches that claim them.
func TestRecordThere(t *testing.T) {
	for kind, batchSize := range map[string]int{"claims-in-batches": 2, "claims-directly": 10} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, result := there(t, runbook.RestoreInput{BatchSize: batchSize})
			require.Equal(t, runbook.OutcomeNormal, s.outcome("back").Outcome)
			require.Equal(t, runbook.OutcomeWithdrawn, s.outcome("gone").Outcome)
			s.await("ahead", runbook.StateConflictPaused)
			s.timeline("odd", 1)
			for _, name := range []string{"odd", "late-1", "late-2"} {
				s.await(name, runbook.StateAwaitingReconnect)
			}
			if batchSize == 2 {
				for _, name := range []string{"back", "ahead", "odd", "gone"} {
					s.record(deviceID(name), "device-there-"+name)
				}
				s.record(runbook.BatchWorkflowID("r1", 2), kind+"-batch-waiting")
			}
			s.record(runbook.RestoreWorkflowID("r1"), kind+"-waiting")
			for _, name := range []string{"odd", "late-1", "late-2"} {
				s.reports(name, "5")
			}
			_, err := s.resume("ahead", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
			require.NoError(t, err)
			result()
			if batchSize == 2 {
				s.record(runbook.BatchWorkflowID("r1", 2), kind+"-batch-completed")
				s.record(deviceID("ahead"), "device-there-ahead-resumed")
			}
			s.record(runbook.RestoreWorkflowID("r1"), kind+"-completed")
		})
	}
}
