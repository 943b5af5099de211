package workflows_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// toldAnswer is what came of an update that reports or withdraws.
type toldAnswer struct {
	runbook.DeviceAnswer
	rejected error
	done     bool
}

func (n *night) update(a *toldAnswer, name, id string, request any) func() {
	return func() {
		n.env.UpdateWorkflow(name, id, &testsuite.TestUpdateCallback{
			OnReject: func(err error) { a.rejected, a.done = err, true },
			OnAccept: func() {},
			OnComplete: func(v any, err error) {
				require.NoError(n.t, err)
				a.DeviceAnswer, a.done = v.(runbook.DeviceAnswer), true
			},
		}, request)
	}
}

func (n *night) reportUpdate(a *toldAnswer, id, version string) func() {
	return n.update(a, runbook.UpdateReconnect, id, runbook.ReconnectRequest{RenderedVersion: version, By: "alice"})
}

func (n *night) withdrawUpdate(a *toldAnswer, id string, force bool) func() {
	return n.update(a, runbook.UpdateWithdraw, id, runbook.WithdrawRequest{By: "bob", Force: force})
}

func TestAReportByUpdateIsAnswered(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		version string
		state   runbook.State
	}{{"5", runbook.StateNormal}, {"7", runbook.StateConflictPaused}} {
		n := newNight(t, "5")
		var a, withdrawn toldAnswer
		n.step(n.reportUpdate(&a, "u1", tc.version))
		n.step(func() {
			require.True(t, a.Accepted, a.Message)
			require.Equal(t, runbook.DeviceAnswer{
				Accepted: true, Name: n.device.entry.Name, RestoreID: "r1", State: tc.state, Restored: "5", Reported: tc.version,
			}, a.DeviceAnswer)
		})
		if tc.state == runbook.StateNormal {
			n.ends(runbook.OutcomeNormal)
			continue
		}
		n.step(n.withdrawUpdate(&withdrawn, "u2", true)).ends(runbook.OutcomeWithdrawn)
		require.True(t, withdrawn.Accepted, withdrawn.Message)
		require.Equal(t, runbook.StateWithdrawn, withdrawn.State)
		require.Equal(t, []string{"reconnect T3", "withdraw T5"}, n.story())
	}
}

// The write is a normal activity, whose command is stored together with the update's acceptance.
func TestAnUpdateWritesOnceItIsAccepted(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var normal, local []string
	n.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, args converter.EncodedValues) {
		var in struct{ RequestID string }
		require.NoError(t, args.Get(&in))
		normal = append(normal, info.ActivityType.Name+" "+in.RequestID)
	})
	n.env.SetOnLocalActivityStartedListener(func(info *activity.Info, _ context.Context, _ []any) {
		local = append(local, info.ActivityType.Name)
	})
	var a, b toldAnswer
	n.step(n.reportUpdate(&a, "u1", "7")).step(n.withdrawUpdate(&b, "u2", true)).ends(runbook.OutcomeWithdrawn)
	require.Equal(t, []string{"Reconnect update/u1", "Withdraw update/u2"}, normal)
	require.Empty(t, local)
}

func TestAnUpdateThatMayNotCountIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var unreadable, managed, won, late toldAnswer
	n.step(n.reportUpdate(&unreadable, "u1", "07"), n.withdrawUpdate(&managed, "u2", false))
	n.step(n.reportUpdate(&won, "u3", "4"), n.withdrawUpdate(&late, "u4", true))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, runbook.CodeInvalidVersion, unreadable.Code)
	require.Equal(t, runbook.StateAwaitingReconnect, unreadable.State)
	require.Equal(t, runbook.CodeStillManaged, managed.Code)
	require.True(t, won.Accepted)
	require.Equal(t, runbook.CodeNotWaiting, late.Code)
	require.Equal(t, runbook.StateNormal, late.State)
	require.Equal(t, []string{"reconnect InvalidVersion", "withdraw StillManaged", "reconnect T2", "withdraw NotWaiting"},
		n.story())
	require.Equal(t, "update/u1", n.world.refusals[0].RequestID)
}

func TestAnUpdateThatCannotBeReadLeavesNothing(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	for want, request := range map[string]any{
		"does not say who reports":    runbook.ReconnectRequest{RenderedVersion: "5"},
		"the report has no version":   runbook.ReconnectRequest{By: "alice"},
		`is not "agent"`:              runbook.ReconnectRequest{By: runbook.ActorAgent, RenderedVersion: "5"},
		"does not say who decides":    runbook.WithdrawRequest{Force: true},
		`decommission "Burn" is`:      runbook.WithdrawRequest{By: "alice", Decommission: "Burn"},
		"holds a NUL character or is": runbook.WithdrawRequest{By: "alice", Reason: "a\x00b"},
	} {
		var a toldAnswer
		name := runbook.UpdateWithdraw
		if _, ok := request.(runbook.ReconnectRequest); ok {
			name = runbook.UpdateReconnect
		}
		n.step(n.update(&a, name, want, request))
		n.step(func() { require.ErrorContains(t, a.rejected, want) })
	}
	n.step(func() { require.Empty(t, n.story()) })
	n.step(n.reports("5")).ends(runbook.OutcomeNormal)
}

// What the agent has reported itself counts before what a person says about it, where both arrive together.
func TestTheAgentsReportIsReadBeforeAPersons(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	var a toldAnswer
	n.step(n.reports("7"), n.reportUpdate(&a, "u1", "5"))
	n.step(func() { require.Equal(t, runbook.StateConflictPaused, n.state().State) })
	n.step(n.resumeSignal("alice", "5")).ends(runbook.OutcomeResumed)
	require.True(t, a.Accepted)
	require.Equal(t, runbook.StateConflictPaused, a.State)
}

// A message is bounded whichever way it comes, and however it is written.
func TestALargeUpdateLeavesNothing(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	n := newNight(t, "5")
	n.step(n.reports("7"))
	for i, attack := range []struct {
		update  string
		request any
	}{
		{runbook.UpdateResume, runbook.ResumeRequest{By: "mallory", Plan: long}},
		{runbook.UpdateResume, runbook.ResumeRequest{By: "mallory", Plan: long[:runbook.MaxText+1]}},
		{runbook.UpdateResume, asJSON(`{"by":"mallory"` + strings.Repeat(" ", 1<<20) + `}`)},
		{runbook.UpdateResume, map[string]string{"by": "mallory", long: ""}},
		{runbook.UpdateReconnect, asJSON(`{"by":"mallory","renderedVersion":"7"` + strings.Repeat(" ", 1<<20) + `}`)},
		{runbook.UpdateWithdraw, map[string]any{"by": "mallory", "force": true, "reason": long}},
		{runbook.UpdateWithdraw, asJSON(`null`)},
		{runbook.UpdateWithdraw, nil},
	} {
		var a toldAnswer
		n.step(n.update(&a, attack.update, fmt.Sprint("u", i), attack.request))
		n.step(func() {
			require.True(t, a.done, "attack %d", i)
			var app *temporal.ApplicationError
			require.ErrorAs(t, a.rejected, &app, "attack %d", i)
			require.Equal(t, string(runbook.CodeInvalidRequest), app.Type())
		})
	}
	n.step(n.resumeSignal("alice", "7")).ends(runbook.OutcomeResumed)
	require.Equal(t, []string{"reconnect T3", "resume T4"}, n.story())
	require.Empty(t, n.world.refusals)
}

// The name of a plan is bounded in a signal, too.
func TestAResumeWithALongPlanIsRefused(t *testing.T) {
	t.Parallel()
	for release, considered := range map[workflow.Version]int{1: 0, workflow.DefaultVersion: 1} {
		n := newNight(t, "5")
		n.env.OnGetVersion("bound-plan", workflow.DefaultVersion, workflow.Version(1)).Return(release)
		attack := runbook.ResumeRequest{By: "mallory", Plan: strings.Repeat("x", 60_000)}
		n.step(n.reports("7")).step(n.signal(runbook.SignalResume, attack)).step(n.withdrawUpdate(&toldAnswer{}, "u", true))
		require.NoError(t, n.run())
		require.Equal(t, considered, n.world.calls["Resume"], "a worker of an earlier release has considered it")
		require.Len(t, n.world.refusals, 1-considered)
	}
}

// A refusal is cut before it is kept, whoever has made it.
func TestTheReasonOfARefusalIsCut(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.env.OnActivity("Resume", mock.Anything, mock.Anything).Return(activities.TransitionResult{
		State: runbook.StateConflictPaused, Restored: "5", Reported: "7",
		Refusal: &runbook.Refusal{Code: runbook.CodeNotInPlan, Message: strings.Repeat("x", 1<<20)},
	}, nil)
	n.step(n.reports("7")).step(n.resumeSignal("alice", "7")).step(func() {
		require.Len(t, n.state().Timeline, 2)
		require.Less(t, len(n.state().Timeline[1].Why), 1500)
	}).step(n.withdrawUpdate(&toldAnswer{}, "u", true)).ends(runbook.OutcomeWithdrawn)
}
