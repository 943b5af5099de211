package workflows_test

import (
	"cmp"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// batchStarts notes when each batch began, in minutes since the restore.
func batchStarts(n *fleetNight) map[string]int {
	starts := map[string]int{}
	began := n.env.Now()
	n.env.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		if info.WorkflowType.Name == runbook.BatchWorkflowName {
			starts[info.WorkflowExecution.ID] = int(n.env.Now().Sub(began).Minutes())
		}
	})
	return starts
}

// batchesNeverCall has batches wait for a day, without a word that they have called their devices; begun is told of
// each.
func batchesNeverCall(n *fleetNight, begun func(number int)) {
	n.env.OnWorkflow(runbook.BatchWorkflowName, mock.Anything,
		mock.Anything).Return(func(ctx workflow.Context, in runbook.BatchInput) (runbook.BatchResult, error) {
		begun(in.Number)
		return runbook.BatchResult{}, workflow.Sleep(ctx, 24*time.Hour)
	})
}

func allReport(n *fleetNight, devices int) {
	for i := range devices {
		n.step(n.reports(i, "5"))
	}
}

// Six batches begin one group after the other, and none waits for a device.
func TestBatchesFollowWhenThoseBeforeHaveCalled(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 6)
	starts := batchStarts(n)
	allReport(n, 6)
	status := n.completes(runbook.RestoreInput{BatchSize: 1})
	require.EqualValues(t, 6, status.Counts[runbook.StateNormal])
	require.Len(t, starts, 6)
	for id, minute := range starts {
		require.Zero(t, minute, id)
	}
}

// A batch that never says that it has called its devices, as one that a worker of an early release has started, holds
// the others up for minutes and not for weeks.
func TestBatchesFollowThoseThatNeverCall(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 6)
	silent := 0
	batchesNeverCall(n, func(int) { silent++ })
	starts := batchStarts(n)
	n.step(func() { require.Equal(t, 2, silent) })
	n.at = 15 * time.Minute
	n.step(func() { require.Equal(t, 4, silent) })
	n.at = 30 * time.Minute
	n.step(func() { require.Equal(t, 6, silent) })
	n.step(func() { require.Equal(t, []int{}, n.progress().CalledBatches, "it is known that there are none") })
	for _, step := range []struct {
		said, called int
		batches      []int
	}{{1, 1, []int{1}}, {0, 2, []int{0, 1}}, {3, 3, []int{0, 1, 3}}, {2, 4, []int{0, 1, 2, 3}}} {
		n.step(func() {
			n.env.SignalWorkflow(runbook.SignalBatchCalled, runbook.BatchCalledSignal{Number: step.said})
		})
		n.step(func() {
			require.EqualValues(t, step.called, *n.progress().Called)
			require.Equal(t, step.batches, n.progress().CalledBatches)
			require.False(t, n.progress().Stopping)
		})
	}
	n.step(n.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{BatchSize: 1})))
	require.Equal(t, 10, starts[runbook.BatchWorkflowID("r1", 2)])
	require.Equal(t, 20, starts[runbook.BatchWorkflowID("r1", 4)])
}

// As many batches begin together as the restore was asked for, and as its release had where they did under an earlier
// one.
func TestHowManyBatchesBeginTogether(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		version workflow.Version
		asked   int
		begin   int
	}{
		{"by default", 1, 0, 2},
		{"one after the other", 1, 1, 1},
		{"more", 1, 3, 3},
		{"more than there are", 1, 9, 6},
		{"below zero, in an input written by hand", 1, -1, 2},
		{"begun under an earlier release", workflow.DefaultVersion, 0, 4},
		{"begun under an earlier release, whatever is asked for", workflow.DefaultVersion, 3, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 6)
			n.env.OnGetVersion("batches-at-once", workflow.DefaultVersion, workflow.Version(1)).Return(tc.version)
			begun := 0
			batchesNeverCall(n, func(int) { begun++ })
			n.step(func() { require.Equal(t, tc.begin, begun) })
			n.step(n.env.CancelWorkflow)
			require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{BatchSize: 1, BatchesAtOnce: tc.asked})))
		})
	}
}

// What is interrupted while others are still being started is started again without waiting for them.
func TestWhatIsInterruptedIsNotHeldUpByWhatIsBeingStarted(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 6)
	begun := map[int]int{}
	batchesNeverCall(n, func(number int) { begun[number]++ })
	n.step(func() { n.env.CancelWorkflowByID(runbook.BatchWorkflowID("r1", 1), "") })
	n.step(func() {
		require.Equal(t, 2, begun[1], "it runs again")
		require.Zero(t, begun[2], "while others have not begun yet")
	})
	n.step(n.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{BatchSize: 1})))
}

// Devices of one parent are asked for in waves, and a restore that is cancelled between two of them ends.
func TestACancellationBetweenTwoWaves(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 60)
	n.step(n.env.CancelWorkflow)
	n.step(func() { require.Fail(t, "it should have ended") })
	require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{})))
	require.Equal(t, runbook.RestoreCancelled, n.world.restores["r1"])
}

// While the workflows of its devices end, a restore says that it stops, however it was told to.
func TestARestoreThatStopsSaysSo(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(n *fleetNight){
		"by a signal": func(n *fleetNight) {
			n.env.SignalWorkflow(runbook.SignalCancel, runbook.CancelSignal{By: "alice"})
		},
		"by a cancellation": func(n *fleetNight) { n.env.CancelWorkflow() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 4)
			batchesEndSlowly(n)
			n.step(func() { stop(n) })
			n.step(func() {
				require.True(t, n.progress().Stopping)
				require.Equal(t, runbook.RestoreRunning, n.progress().State)
			})
			require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{BatchSize: 2})))
		})
	}
}

// batchesEndSlowly plays batches whose devices take an hour to end.
func batchesEndSlowly(n *fleetNight) {
	n.env.OnWorkflow(runbook.BatchWorkflowName, mock.Anything,
		mock.Anything).Return(func(ctx workflow.Context, _ runbook.BatchInput) (runbook.BatchResult, error) {
		err := workflow.Sleep(ctx, 24*time.Hour)
		steady, _ := workflow.NewDisconnectedContext(ctx)
		return runbook.BatchResult{}, cmp.Or(workflow.Sleep(steady, time.Hour), err)
	})
}
