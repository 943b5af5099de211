package workflows_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
	"rollcall/workflows"
)

// night is one DeviceWorkflow in the time-skipping environment. Steps are messages at times; those of one step arrive
// in one workflow task.
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
	n.env.SetTestTimeout(3 * time.Minute)
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
	require.Empty(n.t, n.unhandled, "signals that no one read")
	return n.env.GetWorkflowError()
}

func (n *night) input() runbook.DeviceInput {
	e := n.device.entry
	return runbook.DeviceInput{
		RestoreID: "r1", OrgID: e.OrgID, Name: e.Name, Fleet: e.Fleet, State: e.State, Restored: e.Restored,
		Reported:  e.Reported,
		ReadStory: n.world.told != nil,
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
		n.step(func() { n.device.entry.State, n.device.resumedBy, n.device.next = runbook.StateNormal, "bob", "8" },
			n.reports("7"))
		require.Equal(t, "bob", n.ends(runbook.OutcomeResumed).By)
	})
	t.Run("nothing to find it by", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.entry.OrgID = ""
		require.ErrorContains(t, n.run(), "orgId")
	})
}

// A workflow that follows one which was cancelled in the web UI begins with its story, or without it where the audit
// cannot be read.
func TestAWorkflowThatIsStartedAgainHasTheStory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outages int
		want    []string
	}{
		"read":          {0, []string{"reconnect T3", "resume VersionChanged", "resume T4"}},
		"cannot be had": {1000, []string{"resume T4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			n.device.entry.State, n.device.entry.Reported = runbook.StateConflictPaused, "7"
			n.world.told = []runbook.TimelineEntry{
				{Message: runbook.SignalReconnect, Accepted: true, Transition: runbook.T3, Version: "7"},
				{Message: runbook.SignalResume, By: "bob", Code: runbook.CodeVersionChanged},
			}
			n.world.outages = c.outages
			n.step(func() { n.world.outages = 0 }).step(n.resumeSignal("alice", "7"))
			n.ends(runbook.OutcomeResumed)
			require.Equal(t, c.want, n.story())
		})
	}
}
