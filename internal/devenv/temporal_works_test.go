package devenv

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv/sqlitelock"
)

// A server that cannot write says that it is healthy. Works finds it out, and Restart makes it work on the same files.
func TestTemporalThatCannotWriteIsFoundAndRestarted(t *testing.T) {
	t.Parallel()
	const waitLimit = 3 * time.Minute
	cfg := TemporalConfig{Dir: filepath.Join(t.TempDir(), "temporal"), UIPort: NoUI, Namespace: "fleet"}
	first, err := StartTemporal(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = first.Stop() }) // Restart has ended it where all went well
	startWorkflow := func(s *Temporal, id string) error {
		_, err := dial(t, s).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "none"}, "Nothing")
		return err
	}
	require.NoError(t, startWorkflow(first, "kept"))
	require.Eventually(t, func() bool { return first.Works(t.Context()) == nil }, waitLimit, 50*time.Millisecond)

	unlock, err := sqlitelock.Writes(filepath.Join(cfg.Dir, temporalDB))
	require.NoError(t, err)
	require.Error(t, first.Works(t.Context()))
	_, err = dial(t, first).CheckHealth(t.Context(), &client.CheckHealthRequest{})
	require.NoError(t, err, "its health says SERVING")
	require.NoError(t, unlock())

	second, err := first.Restart(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, second.Stop()) })
	require.Equal(t, first.Address(), second.Address())
	require.Eventually(t, func() bool { return second.Works(t.Context()) == nil }, waitLimit, 50*time.Millisecond)
	_, err = dial(t, second).DescribeWorkflowExecution(t.Context(), "kept", "")
	require.NoError(t, err)
}

func TestTemporalInMemoryIsNotRestarted(t *testing.T) {
	t.Parallel()
	s := startTemporal(t, TemporalConfig{UIPort: NoUI})
	_, err := s.Restart(t.Context())
	require.ErrorContains(t, err, "in memory")
	require.NoError(t, s.Works(t.Context()))
}
