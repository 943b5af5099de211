package fake_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
)

// handClock moves when someone waits, and with the real time that calls take.
type handClock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *handClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
	return ctx.Err()
}

// TestALargeFleetIsResumedWithinItsTime counts both what calls take and what they wait for their turn.
func TestALargeFleetIsResumedWithinItsTime(t *testing.T) {
	t.Parallel()
	clock := &handClock{}
	b := setup(t, func(cfg *fake.Config) { cfg.Now = clock.Now })
	b.exec(`insert into devices (org_id, name, annotations, resource_version, created_at, updated_at, spec, status)
		select $1, 'web-' || n, '{"device-controller/conflictPaused": "true", "device-controller/renderedVersion": "5"}', 1,
		now(), now(), '{}',
			'{"config": {"renderedVersion": "7"}}' from generate_series(1, 10000) n`, org)
	b.fake.PauseWorker(true) // what rendering takes is Flight Control's
	cfg := b.fake.Client()
	cfg.Clock = clock
	client, err := flightctl.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })

	began, resumed := clock.Now(), 0
	for first := 1; first <= 10000; first += 100 { // decisions that came together, as a watch would gather them
		names := make([]string, 100)
		for i := range names {
			names[i] = fmt.Sprintf("web-%d", first+i)
		}
		n, err := client.Resume(t.Context(), org, names, fmt.Sprintf("rollcall/%d", first))
		require.NoError(t, err)
		resumed += n
	}
	require.Equal(t, 10000, resumed)
	require.Less(t, clock.Now().Sub(began), 5*time.Minute)
	require.Zero(t, b.fake.Calls()["429"])
	require.LessOrEqual(t, b.fake.Calls()["POST /api/v1/deviceactions/resume"], 100)
}

// TestTheClientNeverMeetsTheLimit is about single calls, as fast as they may be, for ten minutes.
func TestTheClientNeverMeetsTheLimit(t *testing.T) {
	t.Parallel()
	clock := &handClock{}
	b := setup(t, func(cfg *fake.Config) { cfg.Now, cfg.RequestsPerMinute = clock.Now, 150 })
	cfg := b.fake.Client()
	cfg.Clock = clock
	client, err := flightctl.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	for began := clock.Now(); clock.Now().Sub(began) < 10*time.Minute; {
		_, err := client.Resume(t.Context(), org, []string{"web-1"}, "id")
		require.NoError(t, err)
	}
	require.Zero(t, b.fake.Calls()["429"])
	require.Greater(t, b.fake.Calls()["POST /api/v1/deviceactions/resume"], 1350)
}
