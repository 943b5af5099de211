package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
)

func TestResumeSignal(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	result := n.step(n.reports("7")).step(n.resumeSignal("alice", "7")).ends(runbook.OutcomeResumed)
	require.Equal(t, "8", result.Next)
	require.Equal(t, "checked on site", result.Reason)
}

func TestResumeBeforeItsConflictIsNeverKept(t *testing.T) {
	t.Parallel()
	t.Run("signal, then report", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.resumeSignal("mallory", "")).step(n.reports("7"))
		n.step(func() { require.Equal(t, runbook.StateConflictPaused, n.state().State) })
		n.step(n.resumeSignal("alice", ""))
		require.Equal(t, "alice", n.ends(runbook.OutcomeResumed).By)
		require.Equal(t, []string{"resume NotPaused", "reconnect T3", "resume T4"}, n.story())
		require.Len(t, n.world.refusals, 1)
		require.Equal(t, "mallory", n.world.refusals[0].By)
	})
	t.Run("signal and report in one task", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7"), n.resumeSignal("mallory", ""))
		n.step(func() { require.Equal(t, runbook.StateConflictPaused, n.state().State) })
		n.step(n.resumeSignal("alice", ""))
		require.Equal(t, "alice", n.ends(runbook.OutcomeResumed).By)
		require.Equal(t, []string{"resume NotPaused", "reconnect T3", "resume T4"}, n.story())
	})
	t.Run("update and report in one task", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		var early, later answer
		n.step(n.reports("7"), n.resumeUpdate(&early, "u1", "mallory", ""))
		n.step(n.resumeUpdate(&later, "u2", "alice", ""))
		require.Equal(t, "alice", n.ends(runbook.OutcomeResumed).By)
		require.Equal(t, runbook.CodeNotPaused, early.decision.Code)
		require.True(t, later.decision.Accepted)
	})
	t.Run("update while waiting", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		var a answer
		n.step(n.resumeUpdate(&a, "u1", "mallory", "")).step(n.reports("5"))
		n.ends(runbook.OutcomeNormal)
		require.False(t, a.decision.Accepted)
		require.Equal(t, runbook.CodeNotPaused, a.decision.Code)
		require.Len(t, n.world.refusals, 1)
	})
}

func TestTwoResumesInOneTask(t *testing.T) {
	t.Parallel()
	t.Run("updates", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		var first, second answer
		n.step(n.reports("7"))
		n.step(n.resumeUpdate(&first, "u1", "alice", ""), n.resumeUpdate(&second, "u2", "bob", ""))
		n.ends(runbook.OutcomeResumed)
		require.True(t, first.decision.Accepted)
		require.False(t, second.decision.Accepted)
		require.Equal(t, runbook.CodeAlreadyResumed, second.decision.Code)
		require.Equal(t, "alice", second.decision.By)
		require.Contains(t, second.decision.Message, "alice")
		require.Equal(t, 2, n.world.calls["Resume"], "the database refuses it, where it may be the first one once more")
		require.Equal(t, "bob", n.world.refusals[0].By)
	})
	t.Run("signals", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(n.resumeSignal("alice", ""), n.resumeSignal("bob", ""))
		require.Equal(t, "alice", n.ends(runbook.OutcomeResumed).By)
		require.Equal(t, []string{"reconnect T3", "resume T4", "resume AlreadyResumed"}, n.story())
		require.Equal(t, "bob", n.world.refusals[0].By)
	})
}

func TestResumeNamesTheVersionItSaw(t *testing.T) {
	t.Parallel()
	t.Run("a later report refuses it", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		var stale, fresh answer
		n.step(n.reports("7")).step(n.reports("8"))
		n.step(n.resumeUpdate(&stale, "u1", "alice", "7")).step(n.resumeUpdate(&fresh, "u2", "alice", "8"))
		require.Equal(t, "9", n.ends(runbook.OutcomeResumed).Next)
		require.Equal(t, runbook.CodeVersionChanged, stale.decision.Code)
		require.True(t, fresh.decision.Accepted)
	})
	t.Run("also a report in the same task", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(n.reports("8"), n.resumeSignal("alice", "7")).step(n.resumeSignal("alice", "8"))
		require.Equal(t, "9", n.ends(runbook.OutcomeResumed).Next)
		require.Equal(t, []string{"reconnect T3", "reconnect Reported", "resume VersionChanged", "resume T4"}, n.story())
	})
	t.Run("without an expectation the newest report is rendered past", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(n.reports("6")).step(n.resumeSignal("alice", ""))
		require.Equal(t, "7", n.ends(runbook.OutcomeResumed).Next)
	})
}

func TestResumeValidator(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var unnamed, noVersion answer
	n.step(n.reports("7"))
	n.step(n.resumeUpdate(&unnamed, "u1", "  ", ""), n.resumeUpdate(&noVersion, "u2", "alice", "v7"))
	n.step(n.resumeSignal("alice", ""))
	n.ends(runbook.OutcomeResumed)
	var app *temporal.ApplicationError
	require.ErrorAs(t, unnamed.rejected, &app)
	require.Equal(t, string(runbook.CodeInvalidRequest), app.Type())
	require.ErrorAs(t, noVersion.rejected, &app)
	require.Equal(t, string(runbook.CodeInvalidVersion), app.Type())
	require.Equal(t, []string{"reconnect T3", "resume T4"}, n.story(), "what the validator turns away leaves no trace")
}
