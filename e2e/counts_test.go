package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"rollcall/runbook"
)

// A parent pays three events for each device (asked for, started, ended), whatever it does, and little besides; workflow
// tasks, whose number depends on how busy the machine is, come on top. And it asks for its devices little by little: all
// events of one workflow task are read by the server each time that one of them is.
func TestWhatADeviceCostsItsParents(t *testing.T) {
	t.Parallel()
	const devices, batch, askedAtOnce = 130, 65, 25
	s := newSite(t).startWorker()
	restored := map[string]string{}
	for i := range devices {
		restored[fmt.Sprintf("web-%03d", i)] = "5"
	}
	s.fleet(restored)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: batch})
	for name := range restored {
		s.await(name, runbook.StateAwaitingReconnect)
		s.reports(name, "5")
	}
	require.NoError(t, run.Get(t.Context(), nil))

	var own int
	for _, parent := range []string{runbook.RestoreWorkflowID("r1"), runbook.BatchWorkflowID("r1", 0), runbook.BatchWorkflowID("r1", 1)} {
		asked := map[int64]int{}
		history := s.client.GetWorkflowHistory(t.Context(), parent, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for history.HasNext() {
			event, err := history.Next()
			require.NoError(t, err)
			switch event.GetEventType() {
			case enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enums.EVENT_TYPE_WORKFLOW_TASK_STARTED, enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
				enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
				continue
			case enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
				asked[event.GetStartChildWorkflowExecutionInitiatedEventAttributes().GetWorkflowTaskCompletedEventId()]++
			case enums.EVENT_TYPE_TIMER_STARTED, enums.EVENT_TYPE_TIMER_FIRED, enums.EVENT_TYPE_TIMER_CANCELED, enums.EVENT_TYPE_MARKER_RECORDED:
				// The look at the tally now and then, which has its own limit.
				continue
			}
			own++
		}
		for _, n := range asked {
			require.LessOrEqual(t, n, askedAtOnce, parent)
		}
	}
	require.LessOrEqual(t, own, 3*(devices+2)+60, "beside three for each child, parents have only a few of their own")
}
