package workflows_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

// model is the specification's table, written once more as plainly as it can be: what a device must be after each
// message.
type model struct {
	state    runbook.State
	restored int
	reported int
	next     int
	by       string
}

func (m *model) report(version int) {
	switch {
	case m.state == runbook.StateAwaitingReconnect && version <= m.restored:
		m.state, m.reported = runbook.StateNormal, version
	case m.state.Open():
		m.state, m.reported = runbook.StateConflictPaused, version
	}
}

func (m *model) resume(by string, expect int) {
	if m.state == runbook.StateConflictPaused && (expect < 0 || expect == m.reported) {
		m.state, m.by, m.next = runbook.StateNormal, by, max(m.restored, m.reported)+1
	}
}

func (m *model) withdraw(force bool) {
	if m.state.Open() && force {
		m.state = runbook.StateWithdrawn
	}
}

// TestAnyMessagesInAnyOrder sends random messages and compares with the model, whose end must be the workflow's.
func TestAnyMessagesInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{state: runbook.StateAwaitingReconnect, restored: rapid.IntRange(0, 3).Draw(rt, "restored")}
		n := newNight(t, strconv.Itoa(m.restored))
		for i := range rapid.IntRange(1, 12).Draw(rt, "messages") {
			if !m.state.Open() {
				break
			}
			switch rapid.IntRange(0, 5).Draw(rt, "message") {
			case 0, 1, 2:
				version := rapid.IntRange(0, 6).Draw(rt, "version")
				n.step(n.reports(strconv.Itoa(version)))
				m.report(version)
			case 3, 4:
				expect, by := rapid.IntRange(-1, 6).Draw(rt, "expect"), "human-"+strconv.Itoa(i)
				n.step(n.resumeSignal(by, expectation(expect)))
				m.resume(by, expect)
			case 5:
				force := rapid.Bool().Draw(rt, "force")
				n.step(n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{Force: force}))
				m.withdraw(force)
			}
		}
		if m.state.Open() {
			n.step(func() { require.Equal(t, m.state, n.state().State) })
			n.step(n.env.CancelWorkflow)
			require.Error(t, n.run())
			return
		}
		require.NoError(t, n.run())
		var result runbook.DeviceResult
		require.NoError(t, n.env.GetWorkflowResult(&result))
		require.Equal(t, m.state, n.device.entry.State)
		require.Equal(t, m.by, result.By)
		if m.next > 0 {
			require.Equal(t, strconv.Itoa(m.next), result.Next)
			require.Equal(t, runbook.OutcomeResumed, result.Outcome)
		}
	})
}

func expectation(version int) string {
	if version < 0 {
		return ""
	}
	return strconv.Itoa(version)
}
