package workflows_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
	"rollcall/workflows"
)

// night is one DeviceWorkflow in the time-skipping environment. Steps are messages at times; those of one step arrive in
// one workflow task.
type night struct {
	t         *testing.T
	env       *testsuite.TestWorkflowEnvironment
	world     *world
	device    *worldDevice
	at        time.Duration
	unhandled []string
}

func newNight(t *testing.T, restored string) *night {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	n := &night{t: t, env: suite.NewTestWorkflowEnvironment(), world: newWorld()}
	n.device = n.world.add("web-7", restored)
	n.world.register(n.env)
	n.env.SetTestTimeout(30 * time.Second)
	return n
}

// step runs fns together, a minute after the step before.
func (n *night) step(fns ...func()) *night {
	n.at += time.Minute
	n.env.RegisterDelayedCallback(func() {
		for _, fn := range fns {
			fn()
		}
	}, n.at)
	return n
}

func (n *night) reports(version string) func() {
	return func() {
		n.env.SignalWorkflow(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version})
	}
}

func (n *night) signal(name string, payload any) func() {
	return func() { n.env.SignalWorkflow(name, payload) }
}

func (n *night) resumeSignal(by, expect string) func() {
	return n.signal(runbook.SignalResume, runbook.ResumeRequest{By: by, Reason: "checked on site", ExpectVersion: expect})
}

// answer is what came of an update.
type answer struct {
	decision runbook.ResumeDecision
	rejected error
	err      error
	done     bool
}

func (n *night) resumeUpdate(a *answer, id, by, expect string) func() {
	return func() {
		n.env.UpdateWorkflow(runbook.UpdateResume, id, &testsuite.TestUpdateCallback{
			OnReject: func(err error) { a.rejected, a.done = err, true },
			OnAccept: func() {},
			OnComplete: func(v any, err error) {
				a.done, a.err = true, err
				if d, ok := v.(runbook.ResumeDecision); ok {
					a.decision = d
				}
			},
		}, runbook.ResumeRequest{By: by, Reason: "checked on site", ExpectVersion: expect})
	}
}

// run plays the night and returns the workflow's error.
func (n *night) run() error {
	n.t.Helper()
	n.env.ExecuteWorkflow(func(ctx workflow.Context, in runbook.DeviceInput) (runbook.DeviceResult, error) {
		result, err := workflows.DeviceWorkflow(ctx, in)
		n.unhandled = workflow.GetUnhandledSignalNames(ctx)
		return result, err
	}, n.input())
	require.True(n.t, n.env.IsWorkflowCompleted())
	require.Empty(n.t, n.unhandled, "signals that nobody read")
	return n.env.GetWorkflowError()
}

func (n *night) input() runbook.DeviceInput {
	e := n.device.entry
	return runbook.DeviceInput{
		RestoreID: "r1", OrgID: e.OrgID, Name: e.Name, Fleet: e.Fleet, State: e.State, Restored: e.Restored, Reported: e.Reported,
	}
}

func (n *night) ends(outcome runbook.Outcome) runbook.DeviceResult {
	n.t.Helper()
	require.NoError(n.t, n.run())
	var result runbook.DeviceResult
	require.NoError(n.t, n.env.GetWorkflowResult(&result))
	require.Equal(n.t, outcome, result.Outcome)
	return result
}

func (n *night) state() runbook.DeviceStatus {
	n.t.Helper()
	value, err := n.env.QueryWorkflow(runbook.QueryState)
	require.NoError(n.t, err)
	var status runbook.DeviceStatus
	require.NoError(n.t, value.Get(&status))
	return status
}

// story is the timeline in short: message, and what came of it.
func (n *night) story() []string {
	n.t.Helper()
	var lines []string
	for _, e := range n.state().Timeline {
		line := strings.TrimSpace(e.Message + " " + string(e.Transition))
		if !e.Accepted {
			line = e.Message + " " + string(e.Code)
		}
		if e.Times > 1 {
			line += fmt.Sprintf(" x%d", e.Times)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, restored, reported string
	}{
		{"equal", "5", "5"},
		{"behind", "5", "4"},
		{"compared as numbers", "10", "9"},
		{"never rendered, never deployed", "", ""},
		{"never deployed", "5", ""},
	} {
		t.Run("T2 "+tc.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, tc.restored)
			result := n.step(n.reports(tc.reported)).ends(runbook.OutcomeNormal)
			require.Equal(t, tc.restored, result.Restored)
			require.Equal(t, []string{"reconnect T2"}, n.story())
			require.Equal(t, 1, n.world.calls["Reconnect"])
		})
	}
	for _, tc := range []struct {
		name, restored, reported, next string
	}{
		{"ahead", "5", "7", "8"},
		{"ahead by digits", "9", "10", "11"},
		{"restored version missing", "", "1", "2"},
		{"restored version unreadable", "v5", "3", "4"},
	} {
		t.Run("T3 and T4 "+tc.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, tc.restored)
			var a answer
			n.step(n.reports(tc.reported))
			n.step(func() { require.Equal(t, runbook.StateConflictPaused, n.state().State) })
			n.step(n.resumeUpdate(&a, "u1", "alice", ""))
			result := n.ends(runbook.OutcomeResumed)
			require.Equal(t, tc.next, result.Next)
			require.Equal(t, "alice", result.By)
			require.True(t, a.decision.Accepted)
			require.Equal(t, tc.next, a.decision.Next)
			require.Equal(t, []string{"reconnect T3", "resume T4"}, n.story())
		})
	}
}

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
		require.Equal(t, 1, n.world.calls["Resume"])
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

func TestPausedDeviceReportsAgain(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7")).step(n.reports("7"), n.reports("7")).step(n.reports("4"))
	n.step(func() {
		require.Equal(t, runbook.StateConflictPaused, n.state().State)
		require.Equal(t, "4", n.state().Reported)
	})
	n.step(n.resumeSignal("alice", "4"))
	require.Equal(t, "6", n.ends(runbook.OutcomeResumed).Next)
	require.Equal(t, []string{"reconnect T3", "reconnect x2", "reconnect Reported", "resume T4"}, n.story())
	require.Equal(t, 2, n.world.calls["Reconnect"], "the same version again is no write")
}

func TestUnreadableMessagesAreRefusedAndSeen(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		signal  string
		payload any
		code    runbook.Code
	}{
		{"letters", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "abc"}, runbook.CodeInvalidVersion},
		{"leading zero", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "007"}, runbook.CodeInvalidVersion},
		{"65 bits", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "9223372036854775808"}, runbook.CodeInvalidVersion},
		{"a number", runbook.SignalReconnect, map[string]int{"renderedVersion": 7}, runbook.CodeInvalidRequest},
		{"another field's name", runbook.SignalReconnect, map[string]string{"version": "7"}, runbook.CodeInvalidRequest},
		{"no payload", runbook.SignalReconnect, nil, runbook.CodeInvalidRequest},
		{"a bare string", runbook.SignalReconnect, "7", runbook.CodeInvalidRequest},
		{"bytes", runbook.SignalReconnect, []byte("\x00\x01"), runbook.CodeInvalidRequest},
		{"resume by nobody", runbook.SignalResume, runbook.ResumeRequest{Reason: "why not"}, runbook.CodeInvalidRequest},
		{"resume that is no object", runbook.SignalResume, []string{"alice"}, runbook.CodeInvalidRequest},
		{"withdrawal that is no object", runbook.SignalWithdraw, 7, runbook.CodeInvalidRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			send := n.signal(tc.signal, tc.payload)
			n.step(send).step(send, send)
			n.step(func() { require.Equal(t, runbook.StateAwaitingReconnect, n.state().State) })
			n.step(n.reports("5"))
			n.ends(runbook.OutcomeNormal)
			require.Equal(t, []string{fmt.Sprintf("%s %s x3", tc.signal, tc.code), "reconnect T2"}, n.story())
			require.Len(t, n.world.refusals, 1, "a repetition is counted, not written again")
		})
	}
}

func TestResumeValidator(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var nobody, noVersion answer
	n.step(n.reports("7"))
	n.step(n.resumeUpdate(&nobody, "u1", "  ", ""), n.resumeUpdate(&noVersion, "u2", "alice", "v7"))
	n.step(n.resumeSignal("alice", ""))
	n.ends(runbook.OutcomeResumed)
	var app *temporal.ApplicationError
	require.ErrorAs(t, nobody.rejected, &app)
	require.Equal(t, string(runbook.CodeInvalidRequest), app.Type())
	require.ErrorAs(t, noVersion.rejected, &app)
	require.Equal(t, string(runbook.CodeInvalidVersion), app.Type())
	require.Equal(t, []string{"reconnect T3", "resume T4"}, n.story(), "what the validator turns away leaves no trace")
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	withdraw := runbook.WithdrawSignal{By: "alice", Reason: "scrapped"}
	t.Run("a device that is gone, while it waits", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(n.signal(runbook.SignalWithdraw, withdraw)).ends(runbook.OutcomeWithdrawn)
	})
	t.Run("a device that is gone, while it is paused", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(func() { n.device.gone = true }, n.signal(runbook.SignalWithdraw, withdraw))
		n.ends(runbook.OutcomeWithdrawn)
		require.Equal(t, []string{"reconnect T3", "withdraw T5"}, n.story())
	})
	t.Run("without a payload", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(n.signal(runbook.SignalWithdraw, nil)).ends(runbook.OutcomeWithdrawn)
	})
	t.Run("a device that is there is refused, unless by force", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.signal(runbook.SignalWithdraw, withdraw))
		n.step(func() { require.Equal(t, runbook.StateAwaitingReconnect, n.state().State) })
		n.step(n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{By: "alice", Force: true}))
		n.ends(runbook.OutcomeWithdrawn)
		require.Equal(t, []string{"withdraw StillManaged", "withdraw T5"}, n.story())
	})
	t.Run("a device that is gone reports", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(n.reports("5")).ends(runbook.OutcomeWithdrawn)
	})
}

func TestLateMessagesAreAnswered(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("5"), n.reports("6"), n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{By: "bob"}))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, []string{"reconnect T2", "reconnect NotWaiting", "withdraw NotWaiting"}, n.story())
}

func TestDuplicateReports(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7"), n.reports("7"), n.reports("7")).step(n.resumeSignal("alice", "7"))
	require.Equal(t, "8", n.ends(runbook.OutcomeResumed).Next)
	require.Equal(t, 1, n.world.calls["Reconnect"])
}

func TestStartsInAnyState(t *testing.T) {
	t.Parallel()
	t.Run("paused", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.entry.State, n.device.entry.Reported = runbook.StateConflictPaused, "7"
		require.Equal(t, "8", n.step(n.resumeSignal("alice", "7")).ends(runbook.OutcomeResumed).Next)
	})
	t.Run("normal", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.entry.State = runbook.StateNormal
		n.ends(runbook.OutcomeNormal)
	})
	t.Run("withdrawn", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.entry.State = runbook.StateWithdrawn
		n.ends(runbook.OutcomeWithdrawn)
	})
	t.Run("the database has moved on meanwhile", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(func() { n.device.entry.State, n.device.resumedBy, n.device.next = runbook.StateNormal, "bob", "8" }, n.reports("7"))
		require.Equal(t, "bob", n.ends(runbook.OutcomeResumed).By)
	})
	t.Run("nothing to find it by", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.entry.OrgID = ""
		require.ErrorContains(t, n.run(), "orgId")
	})
}

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
	n.step(n.reports("7"))
	n.step(func() { n.env.SetContinueAsNewSuggested(true) }, n.reports("8"))
	err := n.run()
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, err, &again)
	require.Equal(t, []string{"reconnect T3", "reconnect Reported"}, n.story())

	var next runbook.DeviceInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
	require.Equal(t, runbook.StateConflictPaused, next.State)
	require.Equal(t, "8", next.Reported)
	require.Len(t, next.Carried.Timeline, 2)
}

func TestTimelineStaysSmall(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("1000"))
	for i := range 150 {
		n.step(n.reports(fmt.Sprint(1001 + i)))
	}
	n.step(func() {
		require.Len(t, n.state().Timeline, 100)
		require.Equal(t, 51, n.state().Dropped)
	})
	n.step(n.resumeSignal("alice", "1150"))
	n.ends(runbook.OutcomeResumed)
}
