package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
	"rollcall/starter/ask"
)

// tell sends a device's workflow an update, as the temporal command does.
func (b *bench) tell(name, update, id string, request any) (answer runbook.DeviceAnswer, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	options := client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(runbook.DefaultOrgID, name), UpdateName: update, UpdateID: id,
		Args: []any{request}, WaitForStage: client.WorkflowUpdateStageCompleted,
	}
	handle, err := b.client.UpdateWorkflow(ctx, options)
	for ask.IsNotFound(err) { // the restore is about to start it
		handle, err = b.client.UpdateWorkflow(ctx, options)
	}
	if err == nil {
		err = handle.Get(ctx, &answer)
	}
	return answer, err
}

// An update that something else than the command has sent is answered, and the audit says that it came as one.
func TestUpdatesWithoutACommandAreAsserted(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		b.give(device{name: name, version: "5"})
	}
	b.restored("first")
	report := map[string]string{"renderedVersion": "7", "by": "carol"}
	first, err := b.tell("web-1", runbook.UpdateReconnect, "one", report)
	require.NoError(t, err)
	require.True(t, first.Accepted, first.Message)
	require.Equal(t, runbook.StateConflictPaused, first.State)
	again, err := b.tell("web-1", runbook.UpdateReconnect, "one", report)
	require.NoError(t, err)
	require.Equal(t, first, again)

	refused, err := b.tell("web-2", runbook.UpdateWithdraw, "two", map[string]string{"by": "dave"})
	require.NoError(t, err)
	require.Equal(t, runbook.CodeStillManaged, refused.Code)
	report["renderedVersion"] = "v7"
	refused, err = b.tell("web-2", runbook.UpdateReconnect, "three", report)
	require.NoError(t, err)
	require.Equal(t, runbook.CodeInvalidVersion, refused.Code)
	done, err := b.tell("web-2", runbook.UpdateWithdraw, "four", map[string]any{"by": "dave", "force": true})
	require.NoError(t, err)
	require.Equal(t, runbook.StateWithdrawn, done.State)

	_, err = b.tell("web-3", runbook.UpdateReconnect, "five", map[string]string{"version": "5", "by": "carol"})
	require.ErrorContains(t, err, "unknown field")
	_, err = b.tell("web-3", runbook.UpdateReconnect, "six", map[string]string{"renderedVersion": "5"})
	require.ErrorContains(t, err, "does not say who reports")
	require.Equal(t, []string{
		"restore tester asserted",
		"reconnect web-1 carol asserted update",
		"withdraw web-2 dave asserted update StillManaged",
		"reconnect web-2 carol asserted update InvalidVersion",
		"withdraw web-2 dave asserted update",
	}, b.audited())
	b.requireInvariants()
}

// Asked again under the same request id, a workflow gives its first answer.
func TestAReportIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	b.restored("first")
	report := []string{"reconnect", "device", "web-1", "--rendered-version", "5", "--request-id", "one"}
	const back = "device/web-1: back to normal, reported version 5 (restored 5)\n"
	require.Equal(t, back, b.ok(report...))
	require.Equal(t, back, b.ok(report...))
	require.Contains(t, b.run("reconnect", "device", "web-1", "--rendered-version", "5").stderr, "no roll call waits")
	withdrawal := []string{"withdraw", "device", "web-2", "--force", "--request-id", "one"}
	require.Equal(t, "device/web-2: withdrawn\n", b.ok(withdrawal...))
	require.Equal(t, "device/web-2: withdrawn\n", b.ok(withdrawal...))
	require.Equal(t, 2, b.run("withdraw", "device", "web-2", "--request-id=").code)
}

// olderDevice is a device's workflow of a release that does not know the updates.
func olderDevice(ctx workflow.Context, _ runbook.DeviceInput) error {
	resume := func(workflow.Context, runbook.ResumeRequest) (runbook.ResumeDecision, error) {
		return runbook.ResumeDecision{}, nil
	}
	if err := workflow.SetUpdateHandler(ctx, runbook.UpdateResume, resume); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}

func TestWorkersOfAnEarlierReleaseMustBeUpgraded(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	older := worker.New(b.client, b.queue, worker.Options{})
	older.RegisterWorkflowWithOptions(olderDevice, workflow.RegisterOptions{Name: runbook.DeviceWorkflowName})
	require.NoError(t, older.Start())
	defer older.Stop()
	for _, name := range []string{"web-1", "web-2"} {
		_, err := b.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: runbook.DeviceWorkflowID(runbook.DefaultOrgID, name), TaskQueue: b.queue,
		}, runbook.DeviceWorkflowName, runbook.DeviceInput{})
		require.NoError(t, err)
	}
	for _, args := range [][]string{
		{"reconnect", "device", "web-1", "--rendered-version", "5", "--timeout", "2m"},
		{"withdraw", "device", "web-1", "--timeout", "2m"},
	} {
		o := b.run(args...)
		require.Equal(t, 1, o.code)
		require.Contains(t, o.stderr, "upgrade the workers first")
		require.Empty(t, o.stdout)
	}
	o := b.run("withdraw", "device", "web-1", "web-2", "--force", "--timeout", "2m")
	require.Equal(t, 4, o.code)
	require.Contains(t, o.stdout, "upgrade the workers first")
}
