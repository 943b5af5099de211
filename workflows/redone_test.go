package workflows_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// redone is the same run on another worker: nothing of n's task is in the history, and all of its writes are in the
// database.
func (n *night) redone() *night {
	var suite testsuite.WorkflowTestSuite
	again := &night{t: n.t, env: suite.NewTestWorkflowEnvironment(), world: n.world, device: n.device}
	again.world.register(again.env)
	return again
}

// waiting sends messages before the first workflow task, which finds them all.
func (n *night) waiting(fns ...func()) *night {
	n.env.RegisterDelayedCallback(func() {
		for _, fn := range fns {
			fn()
		}
	}, 0)
	return n
}

// A worker is killed after it has written a refusal and before Temporal has its workflow task. The next worker
// executes the task again, with a report that has come meanwhile and that it reads first.
func TestAReportIsNotTakenForTheRefusalBeforeIt(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	withdraw := runbook.WithdrawSignal{By: "bob"}
	n.waiting(n.signal(runbook.SignalWithdraw, withdraw)).step(n.env.CancelWorkflow)
	require.Error(t, n.run())
	n = n.redone()
	n.waiting(n.signal(runbook.SignalWithdraw, withdraw), n.reports("5"))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, []string{"reconnect T2", "withdraw NotWaiting"}, n.story())
}

// The same with two people, whose refusals are both in the audit.
func TestALaterRefusalIsNotTakenForTheFirst(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	bob, carol := []string{"bob"}, runbook.ResumeRequest{By: "carol"}
	n.waiting(n.signal(runbook.SignalWithdraw, bob)).step(n.env.CancelWorkflow)
	require.Error(t, n.run())
	n = n.redone()
	n.waiting(n.signal(runbook.SignalWithdraw, bob), n.signal(runbook.SignalResume, carol)).step(n.env.CancelWorkflow)
	require.Error(t, n.run())
	require.Len(t, n.world.refusals, 2)
	require.Equal(t, "carol", n.world.refusals[1].By)
}

func TestAnUpdateCannotTakeTheIDOfASignal(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var a answer
	n.step(n.resumeUpdate(&a, "signal/default-test-run-id/reconnect/1", "mallory", ""))
	n.step(n.reports("5"))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, "update/signal/default-test-run-id/reconnect/1", n.world.refusals[0].RequestID)
}

func TestSignalsOfUnknownNamesAreRefusedAndSeen(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.waiting(n.signal("resum", runbook.ResumeRequest{By: "alice"}), n.signal("a", nil), n.signal("b\x00", nil),
		n.signal("b\x00", nil))
	n.step(n.reports("5"))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, []string{"a InvalidRequest", "b\uFFFD InvalidRequest x2", "resum InvalidRequest", "reconnect T2"},
		n.story())
	require.Contains(t, n.world.refusals[0].Refusal.Message, "reconnect, resume, withdraw, look")
	require.Len(t, n.world.refusals, 3)
}

// A worker is killed after it has written T2 and before Temporal has its workflow task. The next worker may read what a
// person reports before it reads the agent's report again. The person's has not counted, and they are told so.
func TestAReportThatAnotherHasOvertakenIsNotAccepted(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var a toldAnswer
	n.step(n.reportBefore(signalID(runbook.SignalReconnect, 1), "4"), n.reportUpdate(&a, "u1", "8"))
	n.ends(runbook.OutcomeNormal)
	require.False(t, a.Accepted, "%+v", a)
	require.Equal(t, runbook.CodeNotWaiting, a.Code)
	require.Equal(t, "4", a.Reported)
	require.Contains(t, a.Message, "it was Normal with version 4 before the report was read")
}

// pausedBefore is a night whose worker is killed after it has written T3 and before Temporal has its workflow task. The
// next worker reads a report first, which finds the device paused, and then the look that has paused it.
func pausedBefore(t *testing.T, reported string) *night {
	n := newNight(t, "5")
	n.device.moved = runbook.StateConflictPaused
	return n.waiting(n.lookBefore(), n.reports(reported), n.signal(runbook.SignalLook, runbook.LookSignal{}))
}

// signalID is the request id of a signal: the number-th of its name.
func signalID(name string, number int) string {
	return fmt.Sprintf("signal/default-test-run-id/%s/%d", name, number)
}

// lookBefore carries out the workflow's first look, as a worker does that is killed then.
func (n *night) lookBefore() func() {
	return func() {
		_, err := n.world.look(n.t.Context(), activities.LookInput{
			RestoreID: "r1", OrgID: n.device.entry.OrgID, Name: n.device.entry.Name,
			RequestID: signalID(runbook.SignalLook, 1),
		})
		require.NoError(n.t, err)
	}
}

// reportBefore is the same of a report, and resumeBefore of alice's resume.
func (n *night) reportBefore(requestID, reported string) func() {
	return func() {
		_, err := n.world.reconnect(n.t.Context(), activities.ReconnectInput{
			RestoreID: "r1", OrgID: n.device.entry.OrgID, Name: n.device.entry.Name, Restored: "5", Reported: reported,
			RequestID: requestID,
		})
		require.NoError(n.t, err)
	}
}

func (n *night) resumeBefore(requestID string) func() {
	return func() {
		_, err := n.world.resume(n.t.Context(), activities.ResumeInput{
			RestoreID: "r1", OrgID: n.device.entry.OrgID, Name: n.device.entry.Name, By: "alice", Reason: "checked on site",
			RequestID: requestID,
		})
		require.NoError(n.t, err)
	}
}

// The database has lost nothing. What was answered before is not what holds now.
func TestWhatIsAnsweredAgainIsNotTakenForALoss(t *testing.T) {
	t.Parallel()
	for _, reported := range []string{"7", "8"} {
		t.Run("it reports "+reported, func(t *testing.T) {
			t.Parallel()
			n := pausedBefore(t, reported)
			n.step(func() {
				require.Empty(t, lost(n.world.refusals))
				require.Equal(t, reported, n.state().Reported)
			})
			n.step(n.resumeSignal("alice", reported))
			n.ends(runbook.OutcomeResumed)
		})
	}
}

// A workflow of an earlier release takes what is answered again for a loss.
func TestAnEarlierReleaseGoesByWhatIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	n := pausedBefore(t, "8")
	n.env.OnGetVersion("stands-now", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	n.step(func() {
		require.Equal(t, []string{"reconnect 8"}, lost(n.world.refusals))
		require.Equal(t, "7", n.state().Reported)
	})
	n.step(n.resumeSignal("alice", ""))
	n.ends(runbook.OutcomeResumed)
}

// The database was put back before the message was answered for the first time. Each loss is named, and the second one
// of the same wait as well.
func TestALossBeforeWhatIsAnsweredAgainIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reports []string
		outcome runbook.Outcome
	}{
		"pauses it":       {[]string{"8", "9"}, runbook.OutcomeResumed},
		"lets it through": {[]string{"5"}, runbook.OutcomeNormal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			n.step(n.reports("7"))
			want := []string{"reconnect 7", "reconnect 8"}
			for i, reported := range tc.reports {
				n.step(n.putBack, n.reportBefore(signalID(runbook.SignalReconnect, i+2), reported), n.reports(reported))
				n.step(func() { require.Equal(t, want[:i+1], lost(n.world.refusals)) })
			}
			if tc.outcome == runbook.OutcomeResumed {
				n.step(n.resumeSignal("alice", ""))
			}
			n.ends(tc.outcome)
		})
	}
}

// The worker is killed after it has followed a report and carried out a withdrawal. The device has left by the
// withdrawal, whatever is answered again first.
func TestWhoHasEndedTheWaitIsKnownWhateverIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.device.moved = runbook.StateConflictPaused
	n.step(n.lookBefore(), func() {
		_, err := n.world.withdraw(t.Context(), activities.WithdrawInput{
			RestoreID: "r1", OrgID: n.device.entry.OrgID, Name: n.device.entry.Name, By: "bob", Force: true,
			RequestID: signalID(runbook.SignalWithdraw, 1),
		})
		require.NoError(t, err)
	}, n.signal(runbook.SignalLook, runbook.LookSignal{}),
		n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{By: "bob", Force: true}))
	n.ends(runbook.OutcomeWithdrawn)
	by, _ := n.state().EndedBy()
	require.Equal(t, "bob", by)
	require.Equal(t, []string{"look T3", "look", "withdraw NotWaiting"}, n.story())
}

// A person's report that was accepted is so when it is given again, whatever the device has reported since.
func TestAReportThatIsGivenAgainIsAccepted(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var a toldAnswer
	n.step(n.reportBefore("update/u1", "7"), n.reports("8")).step(n.reportUpdate(&a, "u1", "7"))
	n.step(n.resumeSignal("alice", "8"))
	n.ends(runbook.OutcomeResumed)
	require.True(t, a.Accepted, "%+v", a)
	require.Equal(t, "7", a.Reported)
	require.Equal(t, runbook.StateConflictPaused, a.State)
}

// A worker is killed after it has written T4 and before Temporal has its workflow task. The next worker reads a message
// first that finds the device resumed, and then the resume again: it is the decision that stands.
func TestAResumeThatIsCarriedOutAgainIsAccepted(t *testing.T) {
	t.Parallel()
	for name, earlier := range map[string]bool{"": false, "by an earlier release, not": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			if earlier {
				n.env.OnGetVersion("database-refuses", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
			}
			var alice, bob answer
			n.step(n.reports("7"))
			n.step(n.resumeBefore("update/a"), n.signal(runbook.SignalLook, runbook.LookSignal{}),
				n.resumeUpdate(&bob, "b", "bob", ""), n.resumeUpdate(&alice, "a", "alice", ""))
			require.Equal(t, "alice", n.ends(runbook.OutcomeResumed).By)
			require.Equal(t, runbook.CodeAlreadyResumed, bob.decision.Code)
			require.Equal(t, "alice", bob.decision.By)
			require.Equal(t, !earlier, alice.decision.Accepted, "%+v", alice.decision)
			require.Equal(t, "8", n.device.next)
		})
	}
}

// A device that has left, was approved again and is paused once more. Whoever gives an earlier resume again hears what
// it came to, and the device stays paused.
func TestAnEarlierResumeIsAnsweredAndDoesNotCountAgain(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var again answer
	n.step(n.reportBefore("of an earlier run", "7"), n.resumeBefore("update/a"), func() {
		n.putBack()
		n.device.resumedBy, n.device.next = "", ""
	}, n.reports("8")).step(n.resumeUpdate(&again, "a", "alice", ""))
	n.step(func() { require.Equal(t, runbook.StateConflictPaused, n.state().State) })
	n.step(n.resumeSignal("bob", "8"))
	require.Equal(t, "bob", n.ends(runbook.OutcomeResumed).By)
	require.True(t, again.decision.Accepted, "%+v", again.decision)
	require.Equal(t, "alice", again.decision.By)
	require.Equal(t, "8", again.decision.Next)
}

// A resume that came before there was a conflict waits while a report is written, and is refused by what it knew then.
func TestAnEarlyResumeDoesNotReachTheDatabaseOnceTheDeviceHasLeft(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var a answer
	n.step(n.reports("5"), n.resumeUpdate(&a, "u1", "mallory", ""))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, runbook.CodeNotPaused, a.decision.Code)
	require.Zero(t, n.world.calls["Resume"])
}
