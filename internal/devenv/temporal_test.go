package devenv

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

func TestTemporalRestartsOnItsFiles(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Temporal) error{
		"stopped": (*Temporal).Stop,
		"killed":  func(s *Temporal) error { return s.server.cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := TemporalConfig{
				Dir: filepath.Join(t.TempDir(), "temporal"), Namespace: "fleet", SearchAttributes: []string{"DeviceName"},
			}
			first := startTemporal(t, cfg)
			startWorkflow(t, first, "kept")
			require.NoError(t, end(first))
			<-first.Done()

			second := startTemporal(t, cfg)
			_, err := dial(t, second).DescribeWorkflowExecution(t.Context(), "kept", "")
			require.NoError(t, err)
			startWorkflow(t, second, "another")
		})
	}
}

func TestTemporalKeepsTheTasksOfAQueueTogether(t *testing.T) {
	t.Parallel()
	s := startTemporal(t, TemporalConfig{UIPort: NoUI})
	partitions, err := dial(t, s).WorkflowService().ListTaskQueuePartitions(t.Context(),
		&workflowservice.ListTaskQueuePartitionsRequest{
			Namespace: s.Namespace(), TaskQueue: &taskqueue.TaskQueue{Name: "nobody"},
		})
	require.NoError(t, err)
	require.Len(t, partitions.GetWorkflowTaskQueuePartitions(), 1)
}

// A database that a release began which wrote to four partitions may have tasks in each: none is left behind.
func TestTemporalReadsAllPartitionsOfAnOlderDatabase(t *testing.T) {
	t.Parallel()
	cfg := TemporalConfig{Dir: filepath.Join(t.TempDir(), "temporal"), UIPort: NoUI}
	first := startTemporal(t, cfg)
	require.Contains(t, first.settings, "matching.numTaskqueueReadPartitions=1")
	require.NoError(t, first.Stop())
	again := startTemporal(t, cfg)
	require.Equal(t, first.settings, again.settings)
	require.NoError(t, again.Stop())

	require.NoError(t, os.Remove(filepath.Join(cfg.Dir, onePartitionFile)))
	old := startTemporal(t, cfg)
	require.NotContains(t, old.settings, "matching.numTaskqueueReadPartitions=1")
}

func TestTemporalServesItsUIOnTheLoopbackOnly(t *testing.T) {
	t.Parallel()
	s := startTemporal(t, TemporalConfig{})
	require.Contains(t, s.UIURL(), "http://127.0.0.1:")
	answer, err := http.Get(s.UIURL())
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)

	require.Empty(t, startTemporal(t, TemporalConfig{UIPort: NoUI}).UIURL())
}

func TestTemporalTakesOtherPortsThanTakenOnes(t *testing.T) {
	t.Parallel()
	port, uiPort := listen(t), listen(t)
	s := startTemporal(t, TemporalConfig{Port: port, UIPort: uiPort})
	require.NotContains(t, []int{port, uiPort}, s.port)
	require.NotContains(t, []int{port, uiPort}, s.uiPort)

	require.NoError(t, s.Stop())
	again := startTemporal(t, TemporalConfig{Port: s.port, UIPort: s.uiPort})
	require.Equal(t, s.Address(), again.Address(), "the preferred port is free now")
	require.Equal(t, s.UIURL(), again.UIURL())
}

func TestTemporalThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := StartTemporal(t.Context(), TemporalConfig{Binary: filepath.Join(t.TempDir(), "missing")})
	require.ErrorContains(t, err, "start Temporal: ")

	broken := filepath.Join(t.TempDir(), "temporal")
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\necho out of disk >&2\nexit 7\n"), 0o700))
	_, err = StartTemporal(t.Context(), TemporalConfig{Binary: broken})
	require.ErrorContains(t, err, "it ended at once (exit status 7); it said:\nout of disk")
}

// Of the ports that the server finds for its services another process may take one first. It panics then.
func TestTemporalThatPanicsAtItsStartIsStartedAgain(t *testing.T) {
	t.Parallel()
	temporal, err := FindTemporal()
	require.NoError(t, err)
	for name, text := range map[string]struct{ script, problem string }{
		"once":   {"mkdir \"$0.began\" 2>/dev/null || exec " + temporal + ` "$@"`, ""},
		"always": {"", "it ended at once (exit status 2); it said:\npanic: the port is taken\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			panics := filepath.Join(t.TempDir(), "temporal")
			script := "#!/bin/sh\n" + text.script + `
				echo 'panic: the port is taken' >&2
				for line in $(seq 2000); do echo "stack $line" >&2; done
				exit 2`
			require.NoError(t, os.WriteFile(panics, []byte(script), 0o700))
			s, err := StartTemporal(t.Context(), TemporalConfig{Binary: panics, UIPort: NoUI})
			if text.problem != "" {
				require.ErrorContains(t, err, text.problem)
				return
			}
			require.NoError(t, err)
			require.NoError(t, s.Stop())
		})
	}
}

func startTemporal(t *testing.T, cfg TemporalConfig) *Temporal {
	t.Helper()
	s, err := StartTemporal(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

func startWorkflow(t *testing.T, s *Temporal, id string) {
	t.Helper()
	_, err := dial(t, s).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID:        id,
		TaskQueue: "nobody",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword("DeviceName").ValueSet("web-7")),
	}, "Nothing")
	require.NoError(t, err)
}

func dial(t *testing.T, s *Temporal) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: s.Address(), Namespace: s.Namespace()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}
