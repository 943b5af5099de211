package workflows_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

func (n *enrollmentNight) forgets() func() { return func() { n.world.forget("new") } }

// lost are the messages that the audit names as lost.
func lost(refusals []activities.RefusalInput) (messages []string) {
	for _, r := range refusals {
		if r.Refusal.Code == runbook.CodeLost {
			messages = append(messages, r.Message+" "+r.By+r.Version)
		}
	}
	return messages
}

// PostgreSQL was put back to before an approval. The look of the watch ends the wait of the device, which is on no
// roll, and the request waits for a decision again.
func TestALostApprovalIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, reported := range map[string]string{"of a device that waits": "", "of a device that was paused": "8"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newEnrollmentNight(t, "8")
			n.step(n.signals(runbook.SignalApprove, alice))
			want := []string{"approve alice"}
			if reported != "" {
				n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: reported, Agent: true}))
				want = []string{"reconnect 8", "approve alice"}
			}
			n.step(n.forgets(), n.device(runbook.SignalLook, runbook.LookSignal{}))
			n.step(func() {
				require.Equal(t, runbook.EnrollmentPending, n.status().State)
				require.Nil(t, n.status().Decision)
				require.Equal(t, want, lost(n.world.refusals))
			})
			var decision runbook.EnrollmentDecision
			n.step(n.asks(runbook.UpdateApprove, "u2", runbook.ApproveRequest{By: "bob"}, &decision))
			n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0", Agent: true}))
			result := n.ends()
			require.True(t, decision.Accepted, decision.Message)
			require.Equal(t, "bob", result.Decision.By)
			require.Equal(t, runbook.OutcomeNormal, result.Device.Outcome)
		})
	}
}

// No watch looks: whoever decides again has the workflow ask the database.
func TestAfterALostApprovalTheNextDecisionCounts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		update  string
		request any
		state   runbook.EnrollmentState
	}{
		"an approval": {runbook.UpdateApprove, runbook.ApproveRequest{By: "bob"}, runbook.EnrollmentApproved},
		"a denial":    {runbook.UpdateDeny, runbook.DenyRequest{By: "bob"}, runbook.EnrollmentDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newEnrollmentNight(t, "8")
			var decision runbook.EnrollmentDecision
			n.step(n.signals(runbook.SignalApprove, alice))
			n.step(n.forgets(), n.asks(tc.update, "u2", tc.request, &decision))
			if tc.state == runbook.EnrollmentApproved {
				n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0", Agent: true}))
			}
			result := n.ends()
			require.True(t, decision.Accepted, decision.Message)
			require.Equal(t, tc.state, result.Decision.State)
			require.Equal(t, "bob", result.Decision.By)
			require.Equal(t, []string{"approve alice"}, lost(n.world.refusals))
		})
	}
}

// PostgreSQL is put back after it said that the approval stands. What the workflow knows does not refuse the next one.
func TestADecisionIsLostJustBeforeTheNextOne(t *testing.T) {
	t.Parallel()
	for _, left := range []bool{false, true} {
		t.Run(fmt.Sprintf("the device has left %t", left), func(t *testing.T) {
			t.Parallel()
			n := newEnrollmentNight(t, "8")
			again := n.signals(runbook.SignalApprove, runbook.ApproveRequest{By: "bob"})
			normal := n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0", Agent: true})
			n.world.forgetsAt = 1
			n.step(n.signals(runbook.SignalApprove, alice))
			if left {
				n.onTold = sync.OnceFunc(again)
				n.step(normal)
			} else {
				n.step(again)
			}
			n.step(normal)
			result := n.ends()
			require.Equal(t, "bob", result.Decision.By)
			require.Equal(t, runbook.OutcomeNormal, result.Device.Outcome)
			require.Equal(t, []string{"approve alice"}, lost(n.world.refusals))
			require.False(t, n.world.devices["new"].entry.State.Open())
		})
	}
}

// A workflow of an earlier release refuses by what it knows.
func TestAnEarlierReleaseRefusesByWhatItKnows(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.env.OnGetVersion("database-refuses", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	var again runbook.EnrollmentDecision
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(n.asks(runbook.UpdateApprove, "u2", runbook.ApproveRequest{By: "bob"}, &again))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0", Agent: true}))
	require.Equal(t, "alice", n.ends().Decision.By)
	require.Equal(t, runbook.CodeAlreadyApproved, again.Code)
	require.Equal(t, "known device", again.Reason)
	require.Equal(t, 1, n.world.calls["Approve"])
}

// The request, too, came after the moment to which the database was put back.
func TestALostRequestEndsItsWorkflow(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(n.forgets(), func() { delete(n.world.requests, "new") }, n.signals(runbook.SignalLook, runbook.LookSignal{}))
	result := n.ends()
	require.Equal(t, runbook.EnrollmentGone, result.Decision.State)
	require.Nil(t, result.Device)
	require.Equal(t, []string{"approve alice"}, lost(n.world.refusals))
}

func TestADecisionThatStandsIsNotTakenBack(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	var again runbook.EnrollmentDecision
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(n.signals(runbook.SignalLook, runbook.LookSignal{}),
		n.asks(runbook.UpdateApprove, "u2", runbook.ApproveRequest{By: "bob"}, &again))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0", Agent: true}))
	result := n.ends()
	require.Equal(t, "alice", result.Decision.By)
	require.NotNil(t, result.Decision.At)
	require.Equal(t, runbook.CodeAlreadyApproved, again.Code)
	require.Equal(t, "known device", again.Reason)
	require.Equal(t, 2, n.world.calls["Approve"], "the database refuses")
	require.Empty(t, lost(n.world.refusals))
}

// A device whose place on the roll was lost ends without an outcome. One of an earlier release waits on.
func TestADeviceThatIsOnNoRollStopsWaiting(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7")).step(func() { delete(n.world.devices, "web-7") }, n.signal(runbook.SignalLook,
		runbook.LookSignal{}))
	var failed *temporal.ApplicationError
	require.ErrorAs(t, n.run(), &failed)
	require.Equal(t, string(runbook.CodeNoRollCall), failed.Type())
	require.Equal(t, runbook.StateConflictPaused, n.state().State, "it never takes over that there is no state")
	require.Equal(t, []string{"reconnect 7"}, lost(n.world.refusals))

	n = newNight(t, "5")
	n.env.OnGetVersion("off-roll", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	device := n.device
	n.step(func() { delete(n.world.devices, "web-7") }, n.signal(runbook.SignalLook, runbook.LookSignal{}))
	n.step(func() { n.world.devices["web-7"] = device }, n.reports("5"))
	n.ends(runbook.OutcomeNormal)
}
