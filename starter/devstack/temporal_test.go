package devstack

import (
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/sqlitelock"
)

const waitLimit = 2 * time.Minute

// A Temporal server that lives and stores nothing is restarted on its files, at the same address, and starter dev says
// so.
func TestTemporalThatStoresNothingIsRestarted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "temporal")
	server, err := devenv.StartTemporal(t.Context(), devenv.TemporalConfig{Dir: dir, UIPort: devenv.NoUI})
	require.NoError(t, err)
	said := &said{}
	k := newKeeper(server, said)
	k.every, k.limit, k.failsFor = 50*time.Millisecond, 2*time.Second, time.Second
	t.Cleanup(func() { require.NoError(t, k.stop()) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })

	c, err := client.Dial(client.Options{HostPort: server.Address()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	start := func(id string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "none"}, "Nothing")
		return err == nil
	}
	require.Eventually(t, func() bool { return start("kept") }, waitLimit, 50*time.Millisecond)

	unlock, err := sqlitelock.Writes(filepath.Join(dir, "temporal.db"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return said.has("restarting it on its files") }, waitLimit, 20*time.Millisecond)
	require.NoError(t, unlock())
	require.Eventually(t, func() bool { return said.has("Temporal works again") }, waitLimit, 20*time.Millisecond)
	require.Eventually(t, func() bool { return start("another") }, waitLimit, 50*time.Millisecond)
	_, err = c.DescribeWorkflowExecution(t.Context(), "kept", "")
	require.NoError(t, err)
}

// said is what was printed so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.text.Bytes(), []byte(text))
}
