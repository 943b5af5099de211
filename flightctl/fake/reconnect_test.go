package fake_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl/fake"
)

func awaitingKey(name string) string { return "v1/" + org + "/device/" + name + "/awaiting-reconnect" }
func renderedKey(name string) string { return "v1/" + org + "/device/" + name + "/rendered" }

func TestAPollIsComparedWhereTheKeyIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reported string
		want     row
	}{
		{"4", row{Summary: "Online", Updated: "OutOfDate", Reported: "4"}},
		{"5", row{Summary: "Online", Updated: "UpToDate", Reported: "5"}},
		{"7", row{Summary: "ConflictPaused", Updated: "OutOfDate", Reported: "7", Paused: "true"}},
		{"007", row{Summary: "ConflictPaused", Updated: "OutOfDate", Reported: "007", Paused: "true"}},
		{"seven", row{Summary: "Online", Updated: "OutOfDate", Reported: "seven"}}, // it cannot be read, and counts as 0
	} {
		t.Run(c.reported, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.waiting("web-1", "5")
			require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}))
			require.Equal(t, 200, b.poll("web-1", c.reported).code)
			got := b.row("web-1")
			require.Equal(t, int64(2), got.Resource)
			require.Contains(t, got.UpdatedAt, "2026-01-01", "updated_at stays")
			got.Resource, got.UpdatedAt, c.want.Version = 0, "", "5"
			require.Equal(t, c.want, got)
			require.False(t, b.fake.Store().Exists(awaitingKey("web-1")))
			var events int
			require.NoError(t,
				b.db.Get(&events,
					`select count(*) from events where reason = 'DeviceConflictPaused' and actor = '' and details = 'null'`))
			require.Equal(t, c.want.Paused == "true", events == 1)
		})
	}
}

func TestALostKeyStrandsADevice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}))
	b.fake.LoseStore()
	for range 3 {
		require.Equal(t, 200, b.poll("web-1", "5").code, "it is served, and nothing is compared")
	}
	require.Equal(t, "true", b.row("web-1").Awaiting)
	missing, err := b.client.MissingAwaiting(t.Context(), org, []string{"web-1"})
	require.NoError(t, err)
	require.Equal(t, []string{"web-1"}, missing)
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, missing))
	b.poll("web-1", "5")
	require.Empty(t, b.row("web-1").Awaiting, "a SET heals it")
}

func TestAKeyWithoutAnAnnotationIsEaten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	b.exec(`update devices set annotations = annotations - 'device-controller/awaitingReconnect'`)
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}))
	b.poll("web-1", "5")
	require.False(t, b.fake.Store().Exists(awaitingKey("web-1")))
}

func TestAWrongValueIsNoKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	require.NoError(t, b.fake.Store().Set(awaitingKey("web-1"), "yes"))
	b.poll("web-1", "5")
	require.Equal(t, "true", b.row("web-1").Awaiting)
}

func TestAHeldPollNoticesAKeyOnlyWhenWoken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	require.NoError(t, b.fake.Store().Set(renderedKey("web-1"), "5"))
	held := make(chan answer, 1)
	go func() { held <- b.poll("web-1", "5") }()
	require.Eventually(t, func() bool { return b.fake.Held() == 1 }, 2*time.Minute, time.Millisecond)
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}))
	select {
	case got := <-held:
		require.Fail(t, "the poll ended", "%+v", got)
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, b.client.Wake(t.Context(), org, []string{"web-1"}))
	require.Equal(t, 200, (<-held).code)
	require.Equal(t, "true", b.row("web-1").Awaiting, "being woken compares nothing")
	b.fake.Store().CheckGet(t, renderedKey("web-1"), "5")
	require.Equal(t, 200, b.poll("web-1", "5").code)
	require.Empty(t, b.row("web-1").Awaiting, "the next poll does")
}

func TestAPollEndsWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *fake.Config) { cfg.HoldFor = 20 * time.Millisecond })
	b.waiting("web-1", "5")
	require.NoError(t, b.fake.Store().Set(renderedKey("web-1"), "5"))
	require.Equal(t, 204, b.poll("web-1", "5").code)
	require.Equal(t, 200, b.poll("web-1", "4").code, "another version is not held")
}

func TestPollsWithoutTheStoreAre500(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	b.fake.StopStore()
	require.Equal(t, 500, b.poll("web-1", "5").code)
	require.NoError(t, b.fake.StartStore())
	require.Eventually(t, func() bool { return b.poll("web-1", "5").code == 200 }, 2*time.Minute, 20*time.Millisecond)
}

func TestAPollThatDiesAfterItsStatement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}))
	b.fake.Kill(fake.PollAfterStatement, 1)
	require.Zero(t, b.poll("web-1", "7").code)
	require.Equal(t, "true", b.row("web-1").Paused)
	require.True(t, b.fake.Store().Exists(awaitingKey("web-1")))
	b.poll("web-1", "7")
	require.False(t, b.fake.Store().Exists(awaitingKey("web-1")))
	require.Equal(t, "true", b.row("web-1").Paused)
}

func TestLastSeenIsWrittenLaterAndAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *fake.Config) { cfg.SaveEvery = 50 * time.Millisecond })
	b.waiting("web-1", "5")
	before := b.row("web-1")
	b.poll("web-1", "5")
	require.Eventually(t, func() bool {
		var seen bool
		require.NoError(t, b.db.Get(&seen, `select last_seen is not null from device_timestamps where name = 'web-1'`))
		return seen
	}, 2*time.Minute, 10*time.Millisecond)
	require.Equal(t, before, b.row("web-1"))
}

func TestWhatADeviceIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 401, b.agent("web-2")("GET", "/devices/web-1/rendered", nil).code)
	got := b.poll("web-1", "5")
	require.Equal(t, 404, got.code)
	require.Contains(t, got.body, `Device of name \"web-1\" not found`)
	b.waiting("web-1", "5")
	status := map[string]any{
		"metadata": map[string]any{"name": "web-1"},
		"status": map[string]any{
			"config": map[string]any{"renderedVersion": "7"}, "summary": map[string]any{"status": "Online"},
		},
	}
	require.Equal(t, 200, b.agent("web-1")("PUT", "/devices/web-1/status", status).code)
	r := b.row("web-1")
	require.Equal(t, "AwaitingReconnect 7", r.Summary+" "+r.Reported, "a status is no reconnect")
	b.exec(`update devices set annotations = annotations - 'device-controller/renderedVersion'`)
	require.Equal(t, 409, b.poll("web-1", "5").code)
}
