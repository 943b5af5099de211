package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestLook(t *testing.T) {
	t.Parallel()
	looks := func(n *night) func() { return n.signal(runbook.SignalLook, runbook.LookSignal{}) }
	moved := func(n *night, to runbook.State) func() { return func() { n.device.moved = to } }
	t.Run("at a device that Flight Control has released", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(moved(n, runbook.StateNormal), looks(n)).ends(runbook.OutcomeNormal)
		require.Equal(t, []string{"look T2"}, n.story())
	})
	t.Run("at a device that Flight Control has paused", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(moved(n, runbook.StateConflictPaused), looks(n))
		n.step(func() {
			require.Equal(t, runbook.StateConflictPaused, n.state().State)
			require.Equal(t, "7", n.state().Reported)
			require.Equal(t, "service:flightctl", n.state().Timeline[0].By)
		})
		n.step(n.resumeSignal("alice", "7"))
		require.Equal(t, "8", n.ends(runbook.OutcomeResumed).Next)
		require.Equal(t, []string{"look T3", "resume T4"}, n.story())
	})
	t.Run("refuses a resume that came before the conflict was known", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(moved(n, runbook.StateConflictPaused), looks(n), n.resumeSignal("mallory", ""))
		n.step(n.resumeSignal("alice", "7"))
		require.Equal(t, "alice", n.ends(runbook.OutcomeResumed).By)
		require.Equal(t, []string{"resume NotPaused", "look T3", "resume T4"}, n.story())
	})
	t.Run("at a device that Flight Control has resumed", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(moved(n, runbook.StateNormal), looks(n))
		result := n.ends(runbook.OutcomeResumed)
		require.Equal(t, "service:flightctl", result.By)
		require.Equal(t, "8", result.Next)
	})
	t.Run("comes before a human's resume", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(moved(n, runbook.StateNormal), looks(n), n.resumeSignal("bob", "7"))
		require.Equal(t, "service:flightctl", n.ends(runbook.OutcomeResumed).By)
		require.Equal(t, []string{"reconnect T3", "look T4", "resume AlreadyResumed"}, n.story())
	})
	t.Run("at a device that is gone", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(looks(n)).ends(runbook.OutcomeWithdrawn)
		require.Equal(t, []string{"look T5"}, n.story())
	})
	t.Run("changes nothing where all agree, and leaves a device that has left", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(looks(n), looks(n)).step(n.reports("5"), looks(n))
		n.ends(runbook.OutcomeNormal)
		require.Equal(t, []string{"look x2", "reconnect T2", "look NotWaiting"}, n.story())
	})
	t.Run("that cannot be read is refused", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.signal(runbook.SignalLook, map[string]string{"state": "Normal"})).step(n.signal(runbook.SignalLook,
			nil)).step(n.reports("5"))
		n.ends(runbook.OutcomeNormal)
		require.Equal(t, []string{"look InvalidRequest", "look", "reconnect T2"}, n.story())
	})
	t.Run("for a superseded restore", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(func() { n.world.restores["r1"] = runbook.RestoreSuperseded }, moved(n, runbook.StateNormal), looks(n))
		n.ends(runbook.OutcomeSuperseded)
		require.Equal(t, runbook.StateAwaitingReconnect, n.device.entry.State)
	})
	t.Run("while the database is away", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.world.outages = 7
		n.step(moved(n, runbook.StateNormal), looks(n)).ends(runbook.OutcomeNormal)
		require.Equal(t, 8, n.world.calls["Look"])
	})
}
