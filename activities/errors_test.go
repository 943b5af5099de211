package activities_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"rollcall/activities"
	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

func environment(t *testing.T) (*testsuite.TestActivityEnvironment, *activities.Activities) {
	t.Helper()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	acts := &activities.Activities{Inventory: store}
	env.RegisterActivity(acts)
	return env, acts
}

func TestARefusalIsAnAnswerAndNeverRetried(t *testing.T) {
	t.Parallel()
	env, acts := environment(t)
	_, err := env.ExecuteActivity(acts.OpenRestore, activities.OpenRestoreInput{ID: "r1"})
	require.NoError(t, err)
	_, err = env.ExecuteActivity(acts.OpenRestore, activities.OpenRestoreInput{ID: "r2"})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.True(t, app.NonRetryable(), "wrapped once more it would be retried")
	require.Equal(t, string(runbook.CodeRestoreRunning), app.Type())
	require.Contains(t, app.Message(), "r1")
}

func TestAFailureIsWorthAnotherTry(t *testing.T) {
	t.Parallel()
	env, acts := environment(t)
	require.NoError(t, acts.Inventory.Close())
	_, err := env.ExecuteActivity(acts.Tally, activities.RestoreRef{RestoreID: "r1"})
	require.Error(t, err)
	var app *temporal.ApplicationError
	require.False(t, errors.As(err, &app) && app.NonRetryable(), "%v", err)
}

func TestValuesThatTheDatabaseWillNeverTakeAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	env, acts := environment(t)
	_, err := env.ExecuteActivity(acts.RecordRefusal, activities.RefusalInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "web-7", Message: runbook.SignalResume, By: "a\x00b",
		State: runbook.StateNormal, Refusal: runbook.Refusal{Code: runbook.CodeNotPaused, Message: "no"}, RequestID: "1",
	})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.True(t, app.NonRetryable())
	require.Equal(t, string(runbook.CodeFailed), app.Type())
}
