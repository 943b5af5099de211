package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"rollcall/activities"
	"rollcall/runbook"
)

func TestARestoreWatchesTheInventory(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		devices  int
		interval string
		want     []activities.WatchInput
	}{
		"by default":             {2, "", []activities.WatchInput{{RestoreID: "r1", Every: 10 * time.Second}}},
		"as often as it is told": {2, "45s", []activities.WatchInput{{RestoreID: "r1", Every: 45 * time.Second}}},
		"not where it must not":  {2, "0", nil},
		"not for no one":         {0, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, tc.devices)
			for i := range tc.devices {
				n.step(n.reports(i, "5"))
			}
			n.completes(runbook.RestoreInput{WatchInterval: tc.interval})
			require.Equal(t, tc.want, n.world.watches)
		})
	}
	t.Run("refuses an interval that it cannot read", func(t *testing.T) {
		t.Parallel()
		n := newFleetNight(t, 1)
		var app *temporal.ApplicationError
		require.ErrorAs(t, n.run(runbook.RestoreInput{WatchInterval: "often"}), &app)
		require.Equal(t, string(runbook.CodeInvalidRequest), app.Type())
		require.Zero(t, n.world.calls["OpenRestore"])
	})
}

// A device that is approved before the restore of an empty fleet has closed is watched like any other.
func TestALateJoinerOfAnEmptyRollIsWatched(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 0)
	n.env.OnActivity("StartEnrollments", mock.Anything, mock.Anything).Return(
		func(ctx context.Context, in activities.RollInput) (activities.RollResult, error) {
			n.world.add("late", "")
			return n.world.startEnrollments(ctx, in)
		})
	n.step(func() {
		n.world.devices["late"].entry.State = runbook.StateNormal
		n.env.SignalWorkflow(runbook.SignalLateJoinerEnded,
			runbook.LateJoinerEndedSignal{OrgID: org, Name: "late", Outcome: runbook.OutcomeNormal})
	})
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
	require.Contains(t, n.world.watches, activities.WatchInput{RestoreID: "r1", Every: 10 * time.Second})
}

// The watch outlives nothing: it is cancelled when the last device has left, and when the restore is cancelled.
func TestTheWatchEndsWithTheRollCall(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*fleetNight){
		"completed": func(n *fleetNight) { n.step(n.reports(0, "5")) },
		"cancelled": func(n *fleetNight) { n.step(n.env.CancelWorkflow) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 1)
			n.env.OnActivity("WatchInventory", mock.Anything, mock.Anything).After(365 * 24 * time.Hour).Return(nil)
			cancelled := ""
			n.env.SetOnActivityCanceledListener(func(info *activity.Info) { cancelled = info.ActivityType.Name })
			end(n)
			begun := n.env.Now()
			err := n.run(runbook.RestoreInput{})
			require.Equal(t, name == "cancelled", temporal.IsCanceledError(err), "%v", err)
			require.Equal(t, "WatchInventory", cancelled)
			require.Less(t, n.env.Now().Sub(begun), time.Hour, "no one waits for the watch")
		})
	}
}

func TestAFailedWatchEndsNoRestore(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 1)
	n.world.watchFails = temporal.NewNonRetryableApplicationError("no more", "Broken", errors.New("broken"))
	n.step(n.reports(0, "5"))
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
	require.Len(t, n.world.watches, 1)
}
