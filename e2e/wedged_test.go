package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
)

// A workflow of an older restore whose task fails each time does not hear that it is cancelled. It keeps no device
// from the restore that runs.
func TestAWedgedWorkflowDoesNotHoldUpARestore(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"})
	wedged, err := s.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: deviceID("web-1"), TaskQueue: s.taskQueue,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID).ValueSet("r0")),
	}, "NoSuchWorkflow")
	require.NoError(t, err)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	s.eventually("it is terminated", func() bool {
		d, err := s.client.DescribeWorkflowExecution(t.Context(), deviceID("web-1"), wedged.GetRunID())
		return err == nil && d.GetWorkflowExecutionInfo().GetCloseTime() != nil
	})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.reports("web-1", "5")
	_, err = s.result(run)
	require.NoError(t, err)
}
