package workflows_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
	"rollcall/workflows"
)

func TestAForgedSuccessorDoesNotHaltARestore(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 1)
	n.step(func() {
		n.env.SignalWorkflow(runbook.SignalSuperseded, runbook.SupersededSignal{ByRestoreID: "nosuch"})
	})
	n.step(func() { require.Equal(t, runbook.PhaseWaiting, n.progress().Phase) }, n.reports(0, "5"))
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
}

// While a restore is really superseded, the name in the signal is still anyone's. A task that signals the workflow of a
// name that Temporal does not take fails each time, and the restore never ends.
func TestAForgedSuccessorIsNotTold(t *testing.T) {
	t.Parallel()
	for name, forged := range map[string]string{
		"too long": strings.Repeat("x", 1500), "another": "r3", "none": "", "unreadable": "\x00",
	} {
		for supersededBy, told := range map[string]bool{"r2": false, "": name != "too long"} {
			n := newFleetNight(t, 1)
			n.world.supersededBy = supersededBy // empty is an activity of an earlier release, whose runs go on as there
			var heard []string
			n.env.OnSignalExternalWorkflow(mock.Anything, mock.Anything, "", runbook.SignalPredecessorEnded, mock.Anything).
				Return(func(_, id, _, _ string, _ any) error {
					heard = append(heard, id)
					return nil
				})
			n.step(func() {
				n.world.restores["r1"] = runbook.RestoreSuperseded
				n.env.SignalWorkflow(runbook.SignalSuperseded, runbook.SupersededSignal{ByRestoreID: forged})
				n.env.SignalWorkflow(runbook.SignalSuperseded, runbook.SupersededSignal{ByRestoreID: "r2"})
			})
			require.NoError(t, n.run(runbook.RestoreInput{}))
			want := []string{"restore/r2"}
			if told {
				want = []string{"restore/" + forged, "restore/r2"}
			}
			require.Equal(t, want, heard, "%s, %q", name, supersededBy)
		}
	}
}

// A restore counts the outcomes that there are. It answers queries with its counts, and one that held what strangers
// have sent could not answer.
func TestForgedOutcomesAreNotCounted(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 1)
	for i := range 35 {
		n.step(func() {
			n.env.SignalWorkflow(runbook.SignalLateJoinerEnded, runbook.LateJoinerEndedSignal{
				Outcome: runbook.Outcome(fmt.Sprint(i) + strings.Repeat("x", 60_000)),
			})
			n.env.SignalWorkflow(runbook.SignalPredecessorEnded,
				runbook.PredecessorEndedSignal{RestoreID: fmt.Sprint(i) + strings.Repeat("x", 60_000)})
		})
	}
	n.step(func() {
		require.Empty(t, n.progress().Ended)
		require.Equal(t, runbook.PhaseWaiting, n.progress().Phase)
	})
	n.step(n.reports(0, "5"))
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
}

// A batch that someone starts by hand finds the names of its devices taken, and would have their workflows cancelled.
func TestABatchThatNoRestoreStartedIsRefused(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	w := newWorld()
	w.add("web-0", "5")
	w.register(env)
	workflows.Register(env)
	env.ExecuteWorkflow(runbook.BatchWorkflowName, runbook.BatchInput{RestoreID: "r1", Slice: runbook.Slice{To: 1}})
	require.ErrorContains(t, env.GetWorkflowError(), "batches are started by")
	require.Empty(t, w.calls)

	env = suite.NewTestWorkflowEnvironment()
	w.register(env)
	workflows.Register(env)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		return workflow.ExecuteChildWorkflow(ctx, runbook.BatchWorkflowName,
			runbook.BatchInput{RestoreID: "r1", Slice: runbook.Slice{To: 1}}).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "other"})
	env.ExecuteWorkflow("other")
	require.ErrorContains(t, env.GetWorkflowError(), "batches are started by", "another parent is none")
	require.Empty(t, w.calls)
}

// A signal that a restore does not know, or cannot read, is seen to have done nothing.
func TestASignalToARestoreIsRefusedWhereItShows(t *testing.T) {
	t.Parallel()
	n := newFleetNight(t, 1)
	refused := func(name string, payload any, times int, why string) {
		n.step(func() { n.env.SignalWorkflow(name, payload) })
		n.step(func() {
			refused := n.progress().RefusedSignal
			require.NotNil(t, refused, name)
			require.Equal(t, name, refused.Name)
			require.Equal(t, times, refused.Times)
			require.Contains(t, refused.Why, why)
			require.Equal(t, runbook.PhaseWaiting, n.progress().Phase)
		})
	}
	n.step(func() { require.Nil(t, n.progress().RefusedSignal) })
	refused("cancle", runbook.CancelSignal{By: "alice"}, 1, "the signals are cancel, superseded")
	refused(runbook.SignalCancel, map[string]string{"buy": "alice"}, 2, "cannot be read")
	refused(runbook.SignalSuperseded, runbook.SupersededSignal{ByRestoreID: "r9"}, 3, "is not superseded by r9")
	n.step(n.reports(0, "5"))
	require.Equal(t, runbook.RestoreCompleted, n.completes(runbook.RestoreInput{}).State)
}
