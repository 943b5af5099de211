package devtest_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/internal/devenv/devtest"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

func TestEachDatabaseIsOnesOwn(t *testing.T) {
	t.Parallel()
	one, two := devtest.EmptyDatabase(t), devtest.EmptyDatabase(t)
	execSQL(t, one, "CREATE TABLE here (x int)")
	execSQL(t, two, "CREATE TABLE here (x int)")
}

func TestDatabaseIsMigrated(t *testing.T) {
	t.Parallel()
	url := devtest.Database(t)
	execSQL(t, url, "SELECT id FROM rollcall.restores")
	execSQL(t, url, "CREATE TABLE here (x int)")
	execSQL(t, devtest.Database(t), "CREATE TABLE here (x int)")
}

func TestEachNamespaceIsOnesOwn(t *testing.T) {
	t.Parallel()
	one, two := devtest.Temporal(t), devtest.Temporal(t)
	for _, server := range []devtest.Server{one, two} {
		_, err := server.Client(t).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID:        "device/default/web-7",
			TaskQueue: devtest.TaskQueue(t),
			TypedSearchAttributes: temporal.NewSearchAttributes(
				temporal.NewSearchAttributeKeyKeyword(runbook.AttributeDeviceStatus).ValueSet("Normal")),
			WorkflowExecutionErrorWhenAlreadyStarted: true,
		}, "Nothing")
		require.NoError(t, err)
	}
}

func execSQL(t *testing.T, url, statement string) {
	t.Helper()
	db, err := sql.Open("postgres", url)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}
