package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

func TestCancellation(t *testing.T) {
	t.Parallel()
	t.Run("leaves the device as it is", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(n.env.CancelWorkflow)
		require.True(t, temporal.IsCanceledError(n.run()))
		require.Equal(t, runbook.StateConflictPaused, n.device.entry.State)
	})
	t.Run("with messages unread answers them first", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.env.CancelWorkflow, n.resumeSignal("mallory", ""))
		require.True(t, temporal.IsCanceledError(n.run()))
		require.Len(t, n.world.refusals, 1)
	})
	t.Run("of a superseded restore is T6", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(func() { n.world.restores["r1"] = runbook.RestoreSuperseded }, n.env.CancelWorkflow)
		n.ends(runbook.OutcomeSuperseded)
		require.Equal(t, []string{"superseded T6"}, n.story())
	})
}

func TestSupersededRestoreActsNoMore(t *testing.T) {
	t.Parallel()
	for name, message := range map[string]func(*night) func(){
		"report":     func(n *night) func() { return n.reports("5") },
		"withdrawal": func(n *night) func() { return n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{Force: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			n.step(func() { n.world.restores["r1"] = runbook.RestoreSuperseded }, message(n))
			n.ends(runbook.OutcomeSuperseded)
			require.Equal(t, runbook.StateAwaitingReconnect, n.device.entry.State)
		})
	}
	t.Run("resume", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		var a answer
		n.step(n.reports("7"))
		n.step(func() { n.world.restores["r1"] = runbook.RestoreSuperseded }, n.resumeUpdate(&a, "u1", "alice", ""))
		n.ends(runbook.OutcomeSuperseded)
		require.Equal(t, runbook.CodeSuperseded, a.decision.Code)
		require.Equal(t, runbook.StateConflictPaused, n.device.entry.State)
	})
}

func TestWhatWasReadIsCarriedOutDespiteACancellation(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.world.outages = 5
	var a answer
	n.step(n.reports("7"))
	// The decision and a report wait for their turn behind a write that takes long, when the cancellation comes.
	n.step(func() { n.world.outages = 5 }, n.resumeUpdate(&a, "u1", "alice", "7"), n.reports("9"), n.env.CancelWorkflow)
	n.ends(runbook.OutcomeResumed)
	require.True(t, a.decision.Accepted)
	require.Equal(t, []string{"reconnect T3", "resume T4", "reconnect NotWaiting"}, n.story())
}

func TestTheAuditRefusesARefusal(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.world.refuseAudit = true
	n.step(n.reports("seven")).step(n.reports("5"))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, []string{"reconnect InvalidVersion", "reconnect T2"}, n.story(), "the device goes on")
}

func TestOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.world.outages = 7
	n.step(n.reports("7"), n.reports("7"))
	n.step(n.resumeSignal("alice", "7"))
	require.Equal(t, "8", n.ends(runbook.OutcomeResumed).Next)
	require.Equal(t, 8, n.world.calls["Reconnect"])
}

func TestContinueAsNewKeepsTheStory(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var a answer
	n.step(n.reports("7")).step(n.reports("8"))
	n.step(n.resumeUpdate(&a, "u1", "alice", "7")).step(func() { n.env.SetContinueAsNewSuggested(true) })
	err := n.run()
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, err, &again)
	require.Equal(t, runbook.CodeVersionChanged, a.decision.Code, "no signal is needed for a long history to be renewed")
	require.Equal(t, []string{"reconnect T3", "reconnect Reported", "resume VersionChanged"}, n.story())

	var next runbook.DeviceInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
	require.Equal(t, runbook.StateConflictPaused, next.State)
	require.Equal(t, "8", next.Reported)
	require.Len(t, next.Carried.Timeline, 3)
}
