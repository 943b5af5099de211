package workflows_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"rollcall/workflows"
)

func replay(t *testing.T, file string) error {
	t.Helper()
	reader, err := os.Open(file)
	require.NoError(t, err)
	defer reader.Close()
	history, err := client.HistoryFromJSON(reader, client.HistoryJSONOptions{})
	require.NoError(t, err)
	started := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	replayer := worker.NewWorkflowReplayer()
	workflows.Register(replayer)
	return replayer.ReplayWorkflowHistoryWithOptions(nil, history, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId()},
	})
}

// TestReplay proves that runs which began under an earlier release go on under this one. A history that no longer
// replays is never recorded again: the change that broke it goes behind workflow.GetVersion.
func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "v*", "*.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 25, "one history for each state and message")
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, replay(t, file))
		})
	}
}

// TestReplayNoticesAChange shows that TestReplay can fail: these histories were changed by hand, each in one place,
// into what a workflow of ours would not do.
func TestReplayNoticesAChange(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "must-not-replay", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, replay(t, file), "nondeterministic")
		})
	}
}
