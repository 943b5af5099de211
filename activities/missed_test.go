package activities_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/activities"
	"rollcall/runbook"
)

// largeFleet is a Temporal in which no device has a workflow, and of which no comparison comes to an end unless it
// lists.
type largeFleet struct {
	activities.Workflows
	progress runbook.RestoreProgress
	started  chan string
	lists    bool
	asked    atomic.Int32
}

func (l *largeFleet) ListWorkflow(
	context.Context, *workflowservice.ListWorkflowExecutionsRequest,
) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if l.lists {
		return &workflowservice.ListWorkflowExecutionsResponse{}, nil
	}
	return nil, errors.New("the list is long")
}

func (l *largeFleet) CountWorkflow(
	context.Context, *workflowservice.CountWorkflowExecutionsRequest,
) (*workflowservice.CountWorkflowExecutionsResponse, error) {
	return &workflowservice.CountWorkflowExecutionsResponse{}, nil
}

func (l *largeFleet) QueryWorkflow(context.Context, string, string, string, ...any) (converter.EncodedValue, error) {
	l.asked.Add(1)
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(l.progress)
	return client.NewValue(payloads), err
}

func (l *largeFleet) DescribeWorkflowExecution(
	context.Context, string, string,
) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return nil, serviceerror.NewNotFound("no such workflow")
}

func (l *largeFleet) ExecuteWorkflow(
	_ context.Context, options client.StartWorkflowOptions, _ any, _ ...any,
) (client.WorkflowRun, error) {
	select {
	case l.started <- options.ID:
	default:
	}
	return nil, nil
}

// A device that the watch has something to tell, and that has no workflow, gets one although the roll was not compared
// with the workflows. One to which the roll call has not come does not.
func TestADeviceThatASignalMissesGetsAWorkflow(t *testing.T) {
	t.Parallel()
	called := int64(1)
	fleet := &largeFleet{
		progress: runbook.RestoreProgress{Called: &called, Total: 2, Claims: true, Phase: runbook.PhaseWaiting},
		started:  make(chan string, 10),
	}
	v := newVigil(t, "claimed", "waits")
	v.exec(`update rollcall.roll set batch = null, wave = null where name = 'waits'`)
	v.workflows, v.absent = fleet, func(string) bool { return true }
	v.reported("claimed", "7")
	v.reported("waits", "7")
	began := time.Now()
	v.start(often, time.Time{})
	require.Equal(t, "device/default/claimed", <-fleet.started)
	require.Greater(t, time.Since(began), 5*time.Second, "it may be about to have one")
	require.Equal(t, "device/default/claimed", <-fleet.started)
	require.Error(t, v.end())
}

// A restore that was taken up again finds its devices claimed. A comparison starts those whose batch has called them,
// and leaves the others to their batch.
func TestAComparisonLeavesDevicesToABatchThatHasNotBegun(t *testing.T) {
	t.Parallel()
	called := int64(1)
	fleet := &largeFleet{
		progress: runbook.RestoreProgress{
			Called: &called, Total: 2, Claims: true, CalledBatches: []int{0}, Phase: runbook.PhaseWaiting,
		},
		started: make(chan string, 10), lists: true,
	}
	v := newVigil(t, "called", "later")
	v.exec(`update rollcall.roll set batch = 1 where name = 'later'`)
	v.workflows, v.absent = fleet, func(string) bool { return true }
	v.reported("later", "7")
	v.start(often, time.Time{})
	for range 3 {
		require.Equal(t, "device/default/called", <-fleet.started)
	}
	_ = v.end()
}

// While a restore ends the workflows of its devices, none is started again.
func TestARestoreThatStopsStartsNoWorkflow(t *testing.T) {
	t.Parallel()
	called := int64(1)
	fleet := &largeFleet{
		progress: runbook.RestoreProgress{Called: &called, Total: 1, Claims: true, Stopping: true},
		started:  make(chan string, 10), lists: true,
	}
	v := newVigil(t, "waits")
	v.workflows, v.absent = fleet, func(string) bool { return true }
	v.start(often, time.Time{})
	require.Eventually(t, func() bool { return fleet.asked.Load() >= 4 }, time.Minute, 10*time.Millisecond)
	require.Empty(t, fleet.started)
	_ = v.end()
}
