//go:build record

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// TestRecordWaves is of parents whose children do not all start together.
func TestRecordWaves(t *testing.T) {
	for kind, batchSize := range map[string]int{"many-batches": 1, "many-devices": 40} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			names := make([]string, batchSize*6/min(batchSize, 6))
			for i := range names {
				names[i] = fmt.Sprintf("web-%02d", i)
			}
			s, run := restoredBy(t, runbook.RestoreInput{RestoreID: "r1", BatchSize: batchSize}, names...)
			s.record(runbook.RestoreWorkflowID("r1"), kind+"-waiting")
			for _, name := range names {
				s.reports(name, "5")
			}
			_, err := s.result(run)
			require.NoError(t, err)
			s.record(runbook.RestoreWorkflowID("r1"), kind+"-completed")
			if batchSize == 1 {
				s.record(runbook.BatchWorkflowID("r1", 5), kind+"-last-batch")
			}
		})
	}
}
