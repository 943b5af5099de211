package workflows_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// deviceStarts notes the names of devices in the order in which their workflows begin.
func deviceStarts(n *fleetNight) func() []string {
	var names []string
	n.env.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		if info.WorkflowType.Name == runbook.DeviceWorkflowName {
			_, name, _ := runbook.ParseDeviceWorkflowID(info.WorkflowExecution.ID)
			names = append(names, name)
		}
	})
	return func() []string { return names }
}

// Devices that are there are called before others, through whichever batch, and answered by the report that was noted.
func TestDevicesThatAreThereAreCalledFirst(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		batchSize int
	}{{"directly", 100}, {"through batches", 30}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 90)
			for i, version := range map[int]string{88: "5", 60: "7", 3: "5"} {
				n.world.devices[fmt.Sprint("web-", i)].entry.Noted = version
			}
			n.world.devices["web-70"].entry.Look = true
			n.world.devices["web-70"].moved = runbook.StateNormal
			starts := deviceStarts(n)
			n.step(func() {
				// Two batches run at a time. Either may claim first, and the first wave takes all that are there.
				first := n.world.devices["web-3"]
				for _, name := range []string{"web-3", "web-60", "web-70", "web-88"} {
					require.Equal(t, first.batch, n.world.devices[name].batch, name)
					require.Equal(t, 1, n.world.devices[name].wave, name)
				}
				require.Len(t, starts(), 90)
				require.Equal(t, runbook.StateNormal, n.world.devices["web-88"].entry.State, "it has not been signalled")
				require.Equal(t, runbook.StateConflictPaused, n.world.devices["web-60"].entry.State)
				require.Equal(t, runbook.StateNormal, n.world.devices["web-70"].entry.State)
				require.EqualValues(t, 90, *n.progress().Called)
				require.True(t, n.progress().Claims)
			})
			n.step(n.signalDevice(60, runbook.SignalResume, runbook.ResumeRequest{By: "alice"}))
			for i := range 90 {
				if !slices.Contains([]int{3, 60, 70, 88}, i) {
					n.step(n.reports(i, "5"))
				}
			}
			status := n.completes(runbook.RestoreInput{BatchSize: tc.batchSize})
			require.EqualValues(t, 90, status.Counts[runbook.StateNormal])
		})
	}
}

// A roll that is taken up again goes on with what each batch had claimed; with fewer batches, the devices of those that
// are missing are claimed by the others.
func TestARollThatIsTakenUpAgainListsByBatch(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 60)
	for i := range 60 {
		if d := n.world.devices[fmt.Sprint("web-", i)]; i%2 == 0 {
			d.batch, d.wave = i%8/2, 1+i/30
		}
	}
	for i := range 60 {
		n.step(n.reports(i, "5"))
	}
	status := n.completes(runbook.RestoreInput{BatchSize: 30})
	require.EqualValues(t, 60, status.Counts[runbook.StateNormal])
	inBatch := map[int]int{}
	for i := range 60 {
		d := n.world.devices[fmt.Sprint("web-", i)]
		inBatch[d.batch]++
		if i%8 == 0 {
			require.Equal(t, 0, d.batch, "it stays with its batch")
			require.LessOrEqual(t, d.wave, 2)
		}
	}
	require.Equal(t, map[int]int{0: 30, 1: 30}, inBatch)
}

// A restore that a worker of an earlier release has begun keeps its slices, and says how far it has come in the order
// of the roll.
func TestARestoreOfAnEarlierReleaseKeepsItsSlices(t *testing.T) {
	t.Parallel()
	for _, batchSize := range []int{1, 10} {
		t.Run(fmt.Sprintf("batches of %d", batchSize), func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 4)
			n.env.OnGetVersion("claim-devices", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
			n.world.devices["web-3"].entry.Noted = "5"
			starts := deviceStarts(n)
			allReport(n, 3)
			n.step(func() { require.False(t, n.progress().Claims) })
			n.completes(runbook.RestoreInput{BatchSize: batchSize})
			require.ElementsMatch(t, []string{"web-0", "web-1", "web-2", "web-3"}, starts())
			require.Zero(t, n.world.calls["Claim"]+n.world.calls["BatchEntries"]+n.world.calls["BeginWaves"])
			require.Positive(t, n.world.calls["OpenEntries"])
		})
	}
}

// A batch that a worker of an earlier release has carried out has claimed nothing, and is carried out again.
func TestABatchThatHasClaimedNothingIsCarriedOutAgain(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 4)
	runs := 0
	batch := func(_ workflow.Context, in runbook.BatchInput) (runbook.BatchResult, error) {
		if in.Number == 0 {
			runs++
		}
		for i := range in.Size {
			n.world.devices[fmt.Sprint("web-", in.Number*in.Size+i)].entry.State = runbook.StateNormal
		}
		return runbook.BatchResult{Claimed: in.Number > 0 || runs == 3}, nil
	}
	n.env.OnWorkflow(runbook.BatchWorkflowName, mock.Anything, mock.Anything).Return(batch)
	n.completes(runbook.RestoreInput{BatchSize: 2})
	require.Equal(t, 3, runs)
}

// A restore that is cancelled while the database does not let it claim ends all the same.
func TestACancellationWhileDevicesAreClaimed(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 60)
	away := fmt.Errorf("connection refused")
	n.env.OnActivity("Claim", mock.Anything, mock.Anything).Return(activities.ClaimResult{}, away)
	n.step(n.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{})))
	require.Equal(t, runbook.RestoreCancelled, n.world.restores["r1"])
}
