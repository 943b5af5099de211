package activities_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/testsuite"

	"rollcall/activities"
	"rollcall/runbook"
)

// silentIndex is a Temporal whose search index does not answer.
type silentIndex struct {
	activities.Workflows
	asked atomic.Int32
}

func (s *silentIndex) CountWorkflow(
	ctx context.Context, _ *workflowservice.CountWorkflowExecutionsRequest,
) (*workflowservice.CountWorkflowExecutionsResponse, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *silentIndex) ListWorkflow(
	ctx context.Context, _ *workflowservice.ListWorkflowExecutionsRequest,
) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A restore closes although what the database has lost cannot be looked for, and soon where another may wait for it.
// Where devices wait, and where it has closed already, nothing is looked for.
func TestARestoreClosesWithoutTheSearchIndex(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before string
		state  runbook.RestoreState
		closes bool
		within time.Duration
		asked  int32
	}{
		"cancelled": {"", runbook.RestoreCancelled, true, 20 * time.Second, 2},
		"superseded": {
			`update rollcall.restores set state = 'Superseded'`, runbook.RestoreCancelled, true, 20 * time.Second, 2,
		},
		"completed": {`update rollcall.roll set state = 'Normal'`, runbook.RestoreCompleted, true, 100 * time.Second, 2},
		"closed before": {
			`update rollcall.restores set state = 'Cancelled'`, runbook.RestoreCancelled, true, time.Minute, 0,
		},
		"a device waits": {"", runbook.RestoreCompleted, false, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVigil(t, "web-1")
			_, err := v.store.FinishRoll(t.Context(), "r1")
			require.NoError(t, err)
			if tc.before != "" {
				v.exec(tc.before)
			}
			index := &silentIndex{}
			acts := &activities.Activities{Inventory: v.store, Workflows: index}
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.SetTestTimeout(waitLimit)
			env.RegisterActivity(acts)
			began := time.Now()
			_, err = env.ExecuteActivity(acts.CloseRestore,
				activities.CloseRestoreInput{RestoreID: "r1", State: tc.state, By: "alice"})
			require.Less(t, time.Since(began), tc.within)
			require.Equal(t, tc.closes, err == nil, "%v", err)
			require.Equal(t, tc.asked, index.asked.Load())
			status, err := v.store.RestoreStatus(t.Context(), "r1")
			require.NoError(t, err)
			require.Equal(t, tc.closes, status.State != runbook.RestoreRunning)
		})
	}
}

// forgetful is a Temporal that has fewer workflows of devices that ended than devices have left: it has forgotten some.
type forgetful struct {
	largeFleet
	counted, listed atomic.Int32
}

func (f *forgetful) CountWorkflow(
	context.Context, *workflowservice.CountWorkflowExecutionsRequest,
) (*workflowservice.CountWorkflowExecutionsResponse, error) {
	f.counted.Add(1)
	return &workflowservice.CountWorkflowExecutionsResponse{Count: 1}, nil
}

func (f *forgetful) ListWorkflow(
	_ context.Context, in *workflowservice.ListWorkflowExecutionsRequest,
) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if strings.Contains(in.GetQuery(), "DeviceWorkflow") && strings.Contains(in.GetQuery(), "Completed") {
		f.listed.Add(1)
	}
	return &workflowservice.ListWorkflowExecutionsResponse{}, nil
}

// The watch lists what has ended at first. Then it does so where Temporal outnumbers the database by more than before,
// which is less than nothing here.
func TestALossIsLookedForThoughTemporalHasForgottenMore(t *testing.T) {
	t.Parallel()
	called := int64(3)
	temporal := &forgetful{largeFleet: largeFleet{
		progress: runbook.RestoreProgress{Called: &called, Total: 3, Claims: true, Stopping: true},
		started:  make(chan string, 10),
	}}
	v := newVigil(t, "web-1", "web-2", "web-3")
	v.exec(`update rollcall.roll set state = 'Normal'`)
	v.workflows = temporal
	v.start(often, time.Time{})
	rounds := func(n int32) func() bool {
		until := temporal.counted.Load() + n
		return func() bool { return temporal.counted.Load() >= until }
	}
	require.Eventually(t, rounds(3), time.Minute, 5*time.Millisecond)
	require.EqualValues(t, 1, temporal.listed.Load())
	v.exec(`update rollcall.roll set state = 'AwaitingReconnect' where name = 'web-1'`)
	require.Eventually(t, rounds(3), time.Minute, 5*time.Millisecond)
	require.EqualValues(t, 2, temporal.listed.Load())
	_ = v.end()
}
