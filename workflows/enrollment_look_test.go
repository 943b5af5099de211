package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// decidedElsewhere has Flight Control decide about the request.
func (n *enrollmentNight) decidedElsewhere(state runbook.EnrollmentState) func() {
	return func() {
		n.world.requests["new"].decided = activities.DecidedResult{
			Applied: true, State: state, RestoreID: "r1", By: "service:flightctl", Reason: "it was decided there",
			Elsewhere: true,
		}
	}
}

func TestADecisionOfFlightControlEndsTheWait(t *testing.T) {
	t.Parallel()
	for _, state := range []runbook.EnrollmentState{runbook.EnrollmentApproved, runbook.EnrollmentGone} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			n := newEnrollmentNight(t, "8")
			look := n.signals(runbook.SignalLook, runbook.LookSignal{})
			n.step(look)
			n.step(func() {
				require.Equal(t, runbook.EnrollmentPending, n.status().State)
				require.Empty(t, n.status().Timeline, "nothing has happened")
			})
			n.step(n.decidedElsewhere(state), look)
			result := n.ends()
			require.Equal(t, state, result.Decision.State)
			require.Equal(t, "service:flightctl", result.Decision.By)
			require.Nil(t, result.Device, "the watch runs the roll call of its device")
			require.Zero(t, n.world.calls["WaitingEntry"])
			require.Len(t, n.status().Timeline, 1)
			require.Equal(t, runbook.SignalLook, n.status().Timeline[0].Message)
		})
	}
}

func TestALookAfterADecisionChangesNothing(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(n.signals(runbook.SignalLook, runbook.LookSignal{}))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0"}))
	result := n.ends()
	require.Equal(t, "alice", result.Decision.By)
	require.Equal(t, runbook.OutcomeNormal, result.Device.Outcome)
	require.Zero(t, n.world.calls["FollowRequest"])
}

// A workflow of an earlier release refuses the signal, as it did.
func TestAnEarlierReleaseDoesNotFollowARequest(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "0")
	n.env.OnGetVersion("follow-request", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	n.env.OnGetVersion("unknown-signals", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1))
	n.step(n.decidedElsewhere(runbook.EnrollmentApproved), n.signals(runbook.SignalLook, runbook.LookSignal{}))
	n.step(func() { n.world.requests["new"].decided.State = runbook.EnrollmentPending })
	n.step(n.signals(runbook.SignalApprove, alice))
	require.Equal(t, "alice", n.ends().Decision.By)
	require.Len(t, n.world.refusals, 1)
	require.Equal(t, runbook.SignalLook, n.world.refusals[0].Message)
	require.Zero(t, n.world.calls["FollowRequest"])
}
