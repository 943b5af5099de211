package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"rollcall/activities"
	"rollcall/runbook"
	"rollcall/workflows"
)

// fleetNight is one RestoreWorkflow with its real children in the time-skipping environment.
type fleetNight struct {
	t     *testing.T
	env   *testsuite.TestWorkflowEnvironment
	world *world
	at    time.Duration
}

func newFleetNight(t *testing.T, devices int) *fleetNight {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	n := &fleetNight{t: t, env: suite.NewTestWorkflowEnvironment(), world: newWorld()}
	for i := range devices {
		n.world.add(fmt.Sprintf("web-%d", i), "5")
	}
	n.world.register(n.env)
	workflows.Register(n.env)
	n.env.SetTestTimeout(3 * time.Minute)
	n.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: runbook.RestoreWorkflowID("r1"), TaskQueue: "q"})
	return n
}

func (n *fleetNight) step(fns ...func()) *fleetNight {
	n.at += time.Minute
	n.env.RegisterDelayedCallback(func() {
		for _, fn := range fns {
			fn()
		}
	}, n.at)
	return n
}

func (n *fleetNight) reports(i int, version string) func() {
	return n.signalDevice(i, runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version})
}

func (n *fleetNight) signalDevice(i int, name string, payload any) func() {
	return func() {
		id := runbook.DeviceWorkflowID(org, fmt.Sprintf("web-%d", i))
		require.NoError(n.t, n.env.SignalWorkflowByID(id, name, payload))
	}
}

func (n *fleetNight) run(in runbook.RestoreInput) error {
	n.t.Helper()
	in.RestoreID = "r1"
	n.env.ExecuteWorkflow(runbook.RestoreWorkflowName, in)
	require.True(n.t, n.env.IsWorkflowCompleted())
	return n.env.GetWorkflowError()
}

func (n *fleetNight) completes(in runbook.RestoreInput) runbook.RestoreStatus {
	n.t.Helper()
	require.NoError(n.t, n.run(in))
	var status runbook.RestoreStatus
	require.NoError(n.t, n.env.GetWorkflowResult(&status))
	require.True(n.t, status.AddsUp())
	return status
}

func (n *fleetNight) progress() runbook.RestoreProgress {
	n.t.Helper()
	value, err := n.env.QueryWorkflow(runbook.QueryTally)
	require.NoError(n.t, err)
	var p runbook.RestoreProgress
	require.NoError(n.t, value.Get(&p))
	return p
}

func TestRestoreWaitsForEveryDevice(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		batchSize int
	}{
		{"directly", 10},
		{"through batches", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 5)
			n.world.devices["web-4"].gone = true
			n.step(n.reports(0, "5"), n.reports(1, "4"), n.reports(2, "7"))
			n.step(n.signalDevice(4, runbook.SignalWithdraw, runbook.WithdrawSignal{By: "alice"}))
			n.step(func() {
				require.Equal(t, runbook.PhaseWaiting, n.progress().Phase)
				require.EqualValues(t, 5, n.progress().Total)
				require.EqualValues(t, 5, *n.progress().Called)
			})
			n.step(n.signalDevice(2, runbook.SignalResume, runbook.ResumeRequest{By: "alice"}))
			n.step(n.reports(3, "6")).step(n.signalDevice(3, runbook.SignalResume, runbook.ResumeRequest{By: "bob"}))
			status := n.completes(runbook.RestoreInput{BatchSize: tc.batchSize})
			require.Equal(t, runbook.RestoreCompleted, status.State)
			require.EqualValues(t, 4, status.Counts[runbook.StateNormal])
			require.EqualValues(t, 1, status.Counts[runbook.StateWithdrawn])
			require.Equal(t, map[runbook.Outcome]int{
				runbook.OutcomeNormal: 2, runbook.OutcomeResumed: 2, runbook.OutcomeWithdrawn: 1, runbook.OutcomeSuperseded: 0,
			}, withZeros(n.progress().Ended))
			require.Equal(t, 3, n.world.calls["PutOnRoll"], "five devices in chunks of two")
		})
	}
}

func withZeros(ended map[runbook.Outcome]int) map[runbook.Outcome]int {
	all := map[runbook.Outcome]int{}
	for _, o := range runbook.Outcomes {
		all[o] = ended[o]
	}
	return all
}

func TestRestoreOfAnEmptyFleet(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 0)
	require.EqualValues(t, 0, n.completes(runbook.RestoreInput{}).Total)
}

func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("while another runs", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.world.refuseOpen = runbook.Refuse(runbook.CodeRestoreRunning, "restore r0 is running")
		var app *temporal.ApplicationError
		require.ErrorAs(t, n.run(runbook.RestoreInput{}), &app)
		require.Equal(t, string(runbook.CodeRestoreRunning), app.Type())
		require.Zero(t, n.world.calls["PutOnRoll"])
	})
	t.Run("under another workflow id", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "my-restore", TaskQueue: "q"})
		require.ErrorContains(t, n.run(runbook.RestoreInput{}), `must be "restore/r1"`)
		require.Zero(t, n.world.calls["OpenRestore"])
	})
}

func TestRestoreStartsAgainWhatWasInterrupted(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 2)
	interrupted := false
	n.step(func() {
		interrupted = true
		n.env.CancelWorkflowByID(runbook.DeviceWorkflowID(org, "web-1"), "")
	})
	n.step(n.reports(0, "5")).step(n.reports(1, "5"))
	status := n.completes(runbook.RestoreInput{})
	require.True(t, interrupted)
	require.EqualValues(t, 2, status.Counts[runbook.StateNormal])
	require.GreaterOrEqual(t, n.world.calls["BatchEntries"], 2)
}

func TestCancellingARestore(t *testing.T) {
	t.Parallel()
	for _, batchSize := range []int{10, 1} {
		t.Run(fmt.Sprintf("batches of %d", batchSize), func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 3)
			n.step(n.reports(0, "5"))
			n.step(func() {
				n.env.SignalWorkflow(runbook.SignalCancel, runbook.CancelSignal{By: "alice", Reason: "wrong backup"})
			}, n.env.CancelWorkflow)
			require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{BatchSize: batchSize})))
			require.Equal(t, runbook.RestoreCancelled, n.world.restores["r1"])
			require.Equal(t, runbook.StateAwaitingReconnect, n.world.devices["web-1"].entry.State)
			require.Equal(t, "alice", n.world.closedBy)
			require.Equal(t, "wrong backup", n.world.closedWhy)
		})
	}
	t.Run("while it opens", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.world.outages = 7 // opening is tried for more than a minute
		n.step(func() {
			n.env.SignalWorkflow(runbook.SignalCancel, runbook.CancelSignal{By: "alice", Reason: "wrong backup"})
		}, n.env.CancelWorkflow)
		require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{})))
		require.Equal(t, runbook.RestoreCancelled, n.world.restores["r1"], "nothing is left open that no one would close")
		require.Equal(t, "wrong backup", n.world.closedWhy)
		require.Zero(t, n.world.calls["PutOnRoll"])
	})
	t.Run("while the database is away", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.step(func() { n.world.outages = 5 }, n.env.CancelWorkflow)
		require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{})))
		require.Equal(t, runbook.RestoreCancelled, n.world.restores["r1"])
	})
}

// A cancellation by a recorded decision that arrives while the restore completes is refused, and recorded as that.
func TestACancelThatComesTooLateIsRefused(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 1)
	var recorded []activities.ActInput
	n.env.RegisterActivityWithOptions(func(in activities.ActInput) (activities.ActResult, error) {
		recorded = append(recorded, in)
		return activities.ActResult{Refusal: in.Refusal}, nil
	}, activity.RegisterOptions{Name: "RecordAct"})
	n.env.OnActivity("CloseRestore", mock.Anything, mock.Anything).Return(
		func(ctx context.Context, in activities.CloseRestoreInput) (runbook.RestoreStatus, error) {
			n.env.SignalWorkflow(runbook.SignalCancel,
				runbook.CancelSignal{By: "alice", Reason: "wrong backup", Origin: runbook.Origin{Decision: "d1"}})
			return n.world.closeRestore(ctx, in)
		})
	n.step(n.reports(0, "5"))
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
	require.Len(t, recorded, 2)
	require.Nil(t, recorded[0].Refusal, "it was allowed")
	require.Equal(t, "alice", recorded[1].By)
	require.Equal(t, recorded[0].RequestID+"/late", recorded[1].RequestID)
	require.NotNil(t, recorded[1].Refusal)
	require.Equal(t, runbook.CodeRestoreEnded, recorded[1].Refusal.Code)
	require.Equal(t, runbook.SignalCancel, n.progress().RefusedSignal.Name)
}

func TestSupersededRestoreSaysSo(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 3)
	told := ""
	n.env.OnSignalExternalWorkflow("default-test-namespace", "restore/r2", "", runbook.SignalPredecessorEnded,
		runbook.PredecessorEndedSignal{RestoreID: "r1"}).
		Return(func(_, id, _, _ string, _ any) error { told = id; return nil })
	n.step(n.reports(0, "5"))
	n.step(func() {
		n.world.restores["r1"] = runbook.RestoreSuperseded
		n.env.SignalWorkflow(runbook.SignalSuperseded, runbook.SupersededSignal{ByRestoreID: "r2"})
	})
	status := n.completes(runbook.RestoreInput{})
	require.Equal(t, runbook.RestoreSuperseded, status.State)
	require.EqualValues(t, 2, status.Counts[runbook.StateAwaitingReconnect])
	require.Equal(t, "restore/r2", told)
}

func TestSupersedingRestoreTakesOver(t *testing.T) {
	t.Parallel()
	t.Run("hears that the other has ended", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.world.superseded = []string{"r0"}
		n.env.OnSignalExternalWorkflow("default-test-namespace", "restore/r0", "", runbook.SignalSuperseded,
			runbook.SupersededSignal{ByRestoreID: "r1"}).Return(nil)
		n.env.RegisterDelayedCallback(func() {
			require.Equal(t, runbook.PhaseTakeOver, n.progress().Phase)
			n.env.SignalWorkflow(runbook.SignalPredecessorEnded, runbook.PredecessorEndedSignal{RestoreID: "r0"})
		}, 10*time.Second)
		n.step(n.reports(0, "5"))
		require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{Supersede: true}).State)
	})
	t.Run("does not wait for ever", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.world.superseded = []string{"r0"}
		n.env.OnSignalExternalWorkflow("default-test-namespace", "restore/r0", "", runbook.SignalSuperseded,
			runbook.SupersededSignal{ByRestoreID: "r1"}).Return(nil)
		n.step().step(n.reports(0, "5"))
		n.completes(runbook.RestoreInput{Supersede: true})
	})
	t.Run("when the other is not there any more", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		n.world.superseded = []string{"r0"}
		n.env.OnSignalExternalWorkflow("default-test-namespace", "restore/r0", "", runbook.SignalSuperseded,
			runbook.SupersededSignal{ByRestoreID: "r1"}).
			Return(errors.New("workflow not found"))
		n.step(n.reports(0, "5"))
		n.completes(runbook.RestoreInput{Supersede: true})
	})
}

func TestRestoreFencedWhilePuttingDevicesOnTheRoll(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 3)
	n.world.superseded = []string{"r0"}
	n.env.OnSignalExternalWorkflow("default-test-namespace", "restore/r0", "", runbook.SignalSuperseded,
		runbook.SupersededSignal{ByRestoreID: "r1"}).
		Return(func(string, string, string, string, any) error {
			n.world.restores["r1"] = runbook.RestoreSuperseded
			return errors.New("gone")
		})
	require.Equal(t, runbook.RestoreSuperseded, n.completes(runbook.RestoreInput{Supersede: true}).State)
}

func TestOutageDoesNotEndARestore(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 2)
	n.world.outages = 6
	n.step().step(n.reports(0, "5"), n.reports(1, "5"))
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
}
