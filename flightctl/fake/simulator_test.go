package fake_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl/fake"
	"rollcall/simulator"
)

// TestSimulatedAgentsComeBack lets agents that know nothing of it poll: with a key they are compared, without one they
// wait.
func TestSimulatedAgentsComeBack(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *fake.Config) { cfg.AgentRequestsPerMinute = -1 })
	cfg := simulator.Config{Gateway: b.fake.AgentURL(), CA: b.ca, Seed: 7}
	for i := range 5 {
		name := fmt.Sprintf("web-%d", i)
		b.waiting(name, "5")
		cfg.Devices = append(cfg.Devices, simulator.Device{Name: name, Restored: "5"})
	}
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-0", "web-1", "web-2", "web-3"}))
	fleet, err := simulator.New(t.Context(), cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); fleet.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	require.Eventually(t, func() bool {
		var waiting int
		err := b.db.Get(&waiting, `select count(*) from devices where annotations ? 'device-controller/awaitingReconnect'`)
		return err == nil && waiting == 1
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, "true", b.row("web-4").Awaiting)
}
