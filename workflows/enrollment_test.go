package workflows_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"rollcall/runbook"
	"rollcall/workflows"
)

// enrollmentNight is one EnrollmentWorkflow of the request "new" with its real child in the time-skipping environment.
type enrollmentNight struct {
	t     *testing.T
	env   *testsuite.TestWorkflowEnvironment
	world *world
	at    time.Duration
	told  []runbook.LateJoinerEndedSignal
	// onTold is done each time the restore is told that the device has left; nil is nothing.
	onTold func()
}

func newEnrollmentNight(t *testing.T, known string) *enrollmentNight {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	n := &enrollmentNight{t: t, env: suite.NewTestWorkflowEnvironment(), world: newWorld()}
	n.world.request("new", known)
	n.world.register(n.env)
	workflows.Register(n.env)
	n.env.SetTestTimeout(3 * time.Minute)
	n.env.SetStartWorkflowOptions(client.StartWorkflowOptions{
		ID: runbook.EnrollmentWorkflowID(org, "new"), TaskQueue: "q",
	})
	n.env.OnSignalExternalWorkflow("default-test-namespace", "restore/r1", "", runbook.SignalLateJoinerEnded,
		mock.Anything).
		Return(func(_, _, _, _ string, arg any) error {
			n.told = append(n.told, arg.(runbook.LateJoinerEndedSignal))
			if n.onTold != nil {
				n.onTold()
			}
			return errors.New("it has gone, which harms no one")
		}).Maybe()
	return n
}

func (n *enrollmentNight) step(fns ...func()) *enrollmentNight {
	n.at += time.Minute
	n.env.RegisterDelayedCallback(func() {
		for _, fn := range fns {
			fn()
		}
	}, n.at)
	return n
}

func (n *enrollmentNight) signals(name string, payload any) func() {
	return func() { n.env.SignalWorkflow(name, payload) }
}

func (n *enrollmentNight) device(name string, payload any) func() {
	return func() {
		require.NoError(n.t, n.env.SignalWorkflowByID(runbook.DeviceWorkflowID(org, "new"), name, payload))
	}
}

// asks sends an update and puts its answer into the decision.
func (n *enrollmentNight) asks(update, id string, request any, decision *runbook.EnrollmentDecision) func() {
	return func() {
		n.env.UpdateWorkflow(update, id, &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { require.NoError(n.t, err) },
			OnComplete: func(answer any, err error) {
				require.NoError(n.t, err)
				*decision = answer.(runbook.EnrollmentDecision)
			},
		}, request)
	}
}

func (n *enrollmentNight) status() runbook.EnrollmentStatus {
	n.t.Helper()
	value, err := n.env.QueryWorkflow(runbook.QueryState)
	require.NoError(n.t, err)
	var status runbook.EnrollmentStatus
	require.NoError(n.t, value.Get(&status))
	return status
}

func (n *enrollmentNight) ends() runbook.EnrollmentResult {
	n.t.Helper()
	n.env.ExecuteWorkflow(runbook.EnrollmentWorkflowName,
		runbook.EnrollmentInput{OrgID: org, Name: "new", RestoreID: "r1"})
	require.True(n.t, n.env.IsWorkflowCompleted())
	require.NoError(n.t, n.env.GetWorkflowError())
	var result runbook.EnrollmentResult
	require.NoError(n.t, n.env.GetWorkflowResult(&result))
	return result
}

var alice = runbook.ApproveRequest{By: "alice", Reason: "known device", Labels: map[string]string{"site": "berlin"}}

func TestApprovedDeviceIsCalled(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	var decision runbook.EnrollmentDecision
	n.step(n.asks(runbook.UpdateApprove, "u1", alice, &decision))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "8"}))
	n.step(n.device(runbook.SignalResume, runbook.ResumeRequest{By: "bob"}))
	result := n.ends()
	require.True(t, decision.Accepted)
	require.Equal(t, runbook.StateAwaitingReconnect, decision.Device)
	require.Equal(t, "r1", decision.RestoreID)
	require.Equal(t, alice.Labels, n.world.requests["new"].labels)
	require.Equal(t, runbook.OutcomeResumed, result.Device.Outcome)
	require.Equal(t, "9", result.Device.Next)
	require.Equal(t, []runbook.LateJoinerEndedSignal{{OrgID: org, Name: "new", Outcome: runbook.OutcomeResumed}}, n.told)
}

func TestApprovedDeviceThatNeverRanIsNormalAtOnce(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "0")
	n.step(n.signals(runbook.SignalApprove, alice))
	result := n.ends()
	require.Equal(t, runbook.StateNormal, result.Decision.Device)
	require.Nil(t, result.Device)
	require.Empty(t, n.told)
}

func TestOfTwoDecisionsOneWins(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]struct {
		update  string
		request any
	}{
		"two approvals":              {runbook.UpdateApprove, runbook.ApproveRequest{By: "bob"}},
		"an approval and its denial": {runbook.UpdateDeny, runbook.DenyRequest{By: "bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newEnrollmentNight(t, "")
			var first, other runbook.EnrollmentDecision
			n.step(n.asks(runbook.UpdateApprove, "u1", alice, &first), n.asks(second.update, "u2", second.request, &other))
			result := n.ends()
			require.True(t, first.Accepted)
			require.False(t, other.Accepted)
			require.Equal(t, runbook.CodeAlreadyApproved, other.Code)
			require.Equal(t, "alice", other.By, "the other is told who")
			require.Equal(t, "alice", result.Decision.By)
			require.Len(t, n.world.refusals, 1)
		})
	}
}

func TestRefusedDecisionsLeaveTheRequestPending(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "")
	n.world.requests["new"].deviceExists = true
	var decision runbook.EnrollmentDecision
	n.step(n.asks(runbook.UpdateApprove, "u1", alice, &decision), n.signals(runbook.SignalApprove, "nonsense"),
		n.signals(runbook.SignalDeny, runbook.DenyRequest{}))
	n.step(func() {
		require.Equal(t, runbook.CodeDeviceExists, decision.Code)
		require.Equal(t, runbook.EnrollmentPending, n.status().State)
		require.Len(t, n.status().Timeline, 3, "no message vanishes")
	})
	n.step(n.signals(runbook.SignalDeny, runbook.DenyRequest{By: "bob", Reason: "unknown"}))
	result := n.ends()
	require.Equal(t, runbook.EnrollmentDenied, result.Decision.State)
	require.Equal(t, "bob", result.Decision.By)
}

func TestRequestThatIsGoneEndsItsWait(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "")
	delete(n.world.requests, "new")
	var decision runbook.EnrollmentDecision
	n.step(n.asks(runbook.UpdateApprove, "u1", alice, &decision))
	require.Equal(t, runbook.EnrollmentGone, n.ends().Decision.State)
	require.Equal(t, runbook.CodeNotFound, decision.Code)
}

func TestOutageDoesNotLoseADecision(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(func() { n.world.outages = 6 }, n.signals(runbook.SignalApprove, alice))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0"}))
	require.Equal(t, runbook.OutcomeNormal, n.ends().Device.Outcome)
}

func TestLateJoinerThatWasInterruptedIsStartedAgain(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(func() { n.env.CancelWorkflowByID(runbook.DeviceWorkflowID(org, "new"), "") })
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0"}))
	require.Equal(t, runbook.OutcomeNormal, n.ends().Device.Outcome)
	require.GreaterOrEqual(t, n.world.calls["WaitingEntry"], 2)
}

// A look at one row has seconds: a device is started again soon after the worker that looked was killed.
func TestALookAtALateJoinersPlaceIsBoundedBySeconds(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0"}))
	require.Equal(t, runbook.OutcomeNormal, n.ends().Device.Outcome)
	require.Positive(t, n.world.waitingEntryLimit)
	require.LessOrEqual(t, n.world.waitingEntryLimit, 5*time.Second)
}

func TestLateJoinerOfACancelledRestoreStopsWaiting(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(n.signals(runbook.SignalApprove, alice))
	n.step(func() {
		n.world.restores["r1"] = runbook.RestoreCancelled
		n.env.CancelWorkflowByID(runbook.DeviceWorkflowID(org, "new"), "")
	})
	require.Nil(t, n.ends().Device)
}

func TestCancellingAnEnrollmentLeavesTheRequestPending(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	n.step(n.env.CancelWorkflow)
	n.env.ExecuteWorkflow(runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: org, Name: "new"})
	require.True(t, temporal.IsCanceledError(n.env.GetWorkflowError()))
	require.Equal(t, runbook.EnrollmentPending, n.world.requests["new"].decided.State)
}

func TestRestoreWaitsForALateJoiner(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*fleetNight){
		"that says when it has ended": func(n *fleetNight) {
			n.world.devices["late"].entry.State = runbook.StateNormal
			n.env.SignalWorkflow(runbook.SignalLateJoinerEnded,
				runbook.LateJoinerEndedSignal{OrgID: org, Name: "late", Outcome: runbook.OutcomeNormal})
		},
		"whose word is lost": func(n *fleetNight) { n.world.devices["late"].entry.State = runbook.StateNormal },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newFleetNight(t, 1)
			n.world.request("pending", "8")
			n.step(func() { n.world.add("late", "") }, n.reports(0, "5"))
			n.step(func() {
				require.Equal(t, runbook.RestoreRunning, n.world.restores["r1"], "it waits for the late joiner")
			})
			n.step(func() { end(n) })
			status := n.completes(runbook.RestoreInput{})
			require.Equal(t, runbook.RestoreCompleted, status.State)
			require.EqualValues(t, 2, status.Total)
			require.Equal(t, []string{"pending"}, n.world.started, "a pending request does not keep it open")
		})
	}
}

func TestCancellingARestoreThatWaitsForALateJoiner(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 1)
	n.env.OnRequestCancelExternalWorkflow("default-test-namespace", runbook.DeviceWorkflowID(org, "late"),
		"").Return(nil).Once()
	n.step(func() { n.world.add("late", "") }, n.reports(0, "5"))
	n.step(n.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(n.run(runbook.RestoreInput{})))
	require.Equal(t, runbook.RestoreCancelled, n.world.restores["r1"])
	n.env.AssertExpectations(t)
}

func TestAnApprovalThatCannotBeStoredIsRefusedAndTheNextOneCounts(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]any{
		"a NUL in the name":   runbook.ApproveRequest{By: "a\x00b"},
		"a NUL in the reason": runbook.ApproveRequest{By: "bob", Reason: "\x00"},
		"a NUL in a label":    runbook.ApproveRequest{By: "bob", Labels: map[string]string{"site": "\x00"}},
		"a large one":         runbook.ApproveRequest{By: "bob", Reason: strings.Repeat("x", 1<<20)},
		"a large field name":  map[string]string{strings.Repeat("x", 60_000): "y"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newEnrollmentNight(t, "0")
			n.world.refuseWhatIsNotText = true
			n.step(n.signals(runbook.SignalApprove, first), n.signals("aprove", alice)).step(n.signals(runbook.SignalApprove,
				alice))
			require.Equal(t, "alice", n.ends().Decision.By)
			timeline := n.status().Timeline
			require.Len(t, timeline, 3)
			require.Equal(t, runbook.CodeInvalidRequest, timeline[0].Code)
			require.Equal(t, "aprove", timeline[1].Message)
			require.Len(t, n.world.refusals, 2)
			text, err := json.Marshal(n.status())
			require.NoError(t, err)
			require.Less(t, len(text), 5_000)
		})
	}
}

func TestAnAuditThatRefusesDoesNotEndAnEnrollment(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "0")
	n.world.refuseAudit = true
	n.step(n.signals(runbook.SignalApprove, runbook.ApproveRequest{})).step(n.signals(runbook.SignalApprove, alice))
	require.Equal(t, "alice", n.ends().Decision.By)
}

// Someone's approval has put the device on the roll, and both they and the worker died before anything else.
func TestApprovingAgainStartsTheDeviceThatNothingWaitsFor(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "8")
	r := n.world.requests["new"]
	r.decided.State, r.decided.By, r.decided.RestoreID = runbook.EnrollmentApproved, "bob", "r1"
	n.world.add("new", "")
	var decision runbook.EnrollmentDecision
	n.step(n.asks(runbook.UpdateApprove, "u1", alice, &decision))
	n.step(n.device(runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "0"}))
	require.Equal(t, runbook.OutcomeNormal, n.ends().Device.Outcome)
	require.Equal(t, runbook.CodeAlreadyApproved, decision.Code)
	require.Equal(t, "r1", decision.RestoreID)
}

// Signals that wait together have lost their order. The denial is read first, whichever was sent first.
func TestADenialIsReadBeforeAnApproval(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "7")
	n.env.RegisterDelayedCallback(func() {
		n.env.SignalWorkflow(runbook.SignalApprove, alice)
		n.env.SignalWorkflow(runbook.SignalDeny, runbook.DenyRequest{By: "bob"})
	}, 0)
	result := n.ends()
	require.Equal(t, runbook.EnrollmentDenied, result.Decision.State)
	require.Equal(t, "bob", result.Decision.By)
}

// A guard whose name is mistyped would be gone without a word, and the message bounded by nothing.
func TestADecisionThatCannotBeReadIsTurnedAway(t *testing.T) {
	t.Parallel()
	n := newEnrollmentNight(t, "0")
	n.world.refuseWhatIsNotText = true
	var rejected []error
	turnedAway := &testsuite.TestUpdateCallback{
		OnReject: func(err error) { rejected = append(rejected, err) }, OnAccept: func() {}, OnComplete: func(any, error) {},
	}
	attacks := []struct {
		update  string
		request any
	}{
		{runbook.UpdateApprove, map[string]string{"by": "ann", "expect_key": "ab12"}},
		{runbook.UpdateApprove, map[string]string{"by": "ann", strings.Repeat("x", 1<<20): ""}},
		{runbook.UpdateApprove, asJSON(`{"by":"ann"` + strings.Repeat(" ", 1<<20) + `}`)},
		{runbook.UpdateApprove, asJSON(`{"by":"ann"} {"expectKey":"ab12"}`)},
		{runbook.UpdateDeny, map[string]any{"by": "ann", "Reasn": "mistyped"}},
		{runbook.UpdateDeny, "ann"},
	}
	for i, attack := range attacks {
		n.step(func() { n.env.UpdateWorkflow(attack.update, fmt.Sprint("u", i), turnedAway, attack.request) })
	}
	n.step(func() { require.Empty(t, n.status().Timeline) })
	n.step(n.signals(runbook.SignalApprove, alice))
	require.Equal(t, "alice", n.ends().Decision.By)
	require.Len(t, rejected, len(attacks))
	for _, err := range rejected {
		var app *temporal.ApplicationError
		require.ErrorAs(t, err, &app)
		require.Equal(t, string(runbook.CodeInvalidRequest), app.Type())
		require.Less(t, len(err.Error()), 2000)
	}
}
