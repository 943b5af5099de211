package workflows_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
	"rollcall/workflows"
)

func replay(t *testing.T, file string) error {
	t.Helper()
	return replayHistory(readHistory(t, file))
}

func readHistory(t *testing.T, file string) *historypb.History {
	t.Helper()
	reader, err := os.Open(file)
	require.NoError(t, err)
	defer reader.Close()
	history, err := client.HistoryFromJSON(reader, client.HistoryJSONOptions{})
	require.NoError(t, err)
	return history
}

func replayHistory(history *historypb.History) error {
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

// A worker of an earlier release has accepted updates that this one would turn away. They are read as they were then,
// because the history holds what came of them.
func TestAnUpdateThatWasAcceptedIsReadAgain(t *testing.T) {
	t.Parallel()
	for file, more := range map[string]string{
		"v2/enrollment-device-waits.json":    `,"expect_key":"ab12"}`,
		"v3/device-resumed-by-update.json":   `,"plan":"` + strings.Repeat("x", runbook.MaxText+1) + `"}`,
		"v3/device-version-changed.json":     strings.Repeat(" ", runbook.MaxMessage) + `}`,
		"v5/device-there-ahead-resumed.json": strings.Repeat(" ", runbook.MaxMessage) + `}`,
	} {
		history := readHistory(t, filepath.Join("testdata", file))
		changed := 0
		for _, event := range history.GetEvents() {
			accepted := event.GetWorkflowExecutionUpdateAcceptedEventAttributes()
			for _, payload := range accepted.GetAcceptedRequest().GetInput().GetArgs().GetPayloads() {
				payload.Data = append(bytes.TrimSuffix(payload.Data, []byte("}")), more...)
				changed++
			}
		}
		require.Positive(t, changed, file)
		require.NoError(t, replayHistory(history), file)
	}
}
