package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// putBack has the database forget that the device was paused, as after a failover that lost its last commits.
func (n *night) putBack() {
	n.device.entry.State, n.device.entry.Reported = runbook.StateAwaitingReconnect, ""
}

func TestARepeatedReportHealsADatabaseThatWasPutBack(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7")).step(n.putBack, n.reports("7"))
	n.step(func() {
		require.Equal(t, runbook.StateConflictPaused, n.device.entry.State, "the report has reached the database")
		require.Equal(t, runbook.StateConflictPaused, n.state().State)
	})
	n.step(n.resumeSignal("alice", "7"))
	n.ends(runbook.OutcomeResumed)
	require.Equal(t, []string{"reconnect T3", "reconnect Lost", "reconnect T3", "resume T4"}, n.story())
	require.Len(t, n.world.refusals, 1)
	require.Equal(t, runbook.CodeLost, n.world.refusals[0].Refusal.Code)
}

func TestARepeatedReportReachesTheDatabaseOnceAMinute(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7"))
	for range 12 {
		n.at -= 50 * time.Second // six reports a minute
		n.step(n.reports("7"))
	}
	n.step(n.resumeSignal("alice", "7"))
	n.ends(runbook.OutcomeResumed)
	require.Equal(t, 3, n.world.calls["Reconnect"])
}

func TestADatabaseThatWasPutBackIsFollowed(t *testing.T) {
	t.Parallel()
	for name, message := range map[string]func(n *night) func(){
		"by a look":    func(n *night) func() { return n.signal(runbook.SignalLook, runbook.LookSignal{}) },
		"by a resume":  func(n *night) func() { return n.resumeSignal("alice", "7") },
		"by a version": func(n *night) func() { return n.reports("4") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			n.step(n.reports("7")).step(n.putBack, message(n))
			n.step(func() { require.Equal(t, n.device.entry.State, n.state().State) })
			n.step(n.reports("4"))
			n.ends(runbook.OutcomeNormal)
			require.Equal(t, []string{"reconnect 7"}, lost(n.world.refusals))
		})
	}
}

// The device is withdrawn before a look or a report shows what was lost. Withdrawn by a database that knows its report,
// nothing was.
func TestALostReportOfAWithdrawnDeviceIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		putBack, earlier bool
		named            int
	}{
		"lost":                  {true, false, 1},
		"not lost":              {false, false, 0},
		"by an earlier release": {true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			if tc.earlier {
				n.env.OnGetVersion("name-withdrawn", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
			}
			before := func() {}
			if tc.putBack {
				before = n.putBack
			}
			n.step(n.reports("7")).step(before, n.signal(runbook.SignalWithdraw,
				runbook.WithdrawRequest{By: "alice", Force: true}))
			n.ends(runbook.OutcomeWithdrawn)
			require.Len(t, n.world.refusals, tc.named)
		})
	}
}

// A workflow of an earlier release goes on as it was.
func TestAnEarlierReleaseDoesNotAskAgain(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.env.OnGetVersion("ask-again", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	n.step(n.reports("7")).step(n.reports("7")).step(n.resumeSignal("alice", "7"))
	n.ends(runbook.OutcomeResumed)
	require.Equal(t, 1, n.world.calls["Reconnect"])
}
