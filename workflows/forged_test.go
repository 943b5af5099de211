package workflows_test

import (
	"testing"

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
