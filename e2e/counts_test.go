package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"rollcall/runbook"
)

// A parent pays three events for each device (asked for, started, ended), whatever it does, and little besides.
// Workflow tasks come on top; starts and ends that come together share theirs, so that a parent asks for its devices
// in waves, and not for the next as soon as one has started. And the waves are small: all events of one workflow task
// are read by the server each time that one of them is.
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
	}
	var storm errgroup.Group
	storm.SetLimit(32)
	for name := range restored {
		storm.Go(func() error {
			return s.client.SignalWorkflow(t.Context(), deviceID(name), "", runbook.SignalReconnect,
				runbook.ReconnectSignal{RenderedVersion: "5"})
		})
	}
	require.NoError(t, storm.Wait())
	require.NoError(t, run.Get(t.Context(), nil))

	var own, all int
	for _, parent := range []string{
		runbook.RestoreWorkflowID("r1"), runbook.BatchWorkflowID("r1", 0), runbook.BatchWorkflowID("r1", 1),
	} {
		asked, children := map[int64]int{}, 0
		for _, event := range s.events(parent, "") {
			all++
			switch event.GetEventType() {
			case enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
				asked[event.GetStartChildWorkflowExecutionInitiatedEventAttributes().GetWorkflowTaskCompletedEventId()]++
				children++
			case enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enums.EVENT_TYPE_WORKFLOW_TASK_STARTED,
				enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
				enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
				// how many share a task follows how busy the machine is; `bench rollcall` measures it against 4.5 events for each
				// device
				continue
			case enums.EVENT_TYPE_TIMER_STARTED, enums.EVENT_TYPE_TIMER_FIRED, enums.EVENT_TYPE_TIMER_CANCELED,
				enums.EVENT_TYPE_MARKER_RECORDED:
				continue // a look at the tally now and then has its own limit
			}
			own++
		}
		for _, n := range asked {
			require.LessOrEqual(t, n, askedAtOnce, parent)
		}
		require.LessOrEqual(t, len(asked), (children+askedAtOnce-1)/askedAtOnce, "%s asks for its children in full waves",
			parent)
	}
	const few = 60 // what does not grow with the fleet
	require.LessOrEqual(t, own, 3*(devices+2)+few, "beside three for each child, parents have only a few of their own")
	require.LessOrEqual(t, all, 6*devices+few, "starts and ends share their workflow tasks on a busy machine, too")
}
