package fake_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
)

func TestAResumeRendersAboveBoth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.waiting("web-2", "5")
	n, err := b.client.Resume(t.Context(), org, []string{"web-1", "web-2", "web-3"}, "rollcall/7")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.eventually("web-1", func(r row) bool { return r.Version == "8" && r.Paused == "" })
	require.Equal(t, "5", b.row("web-2").Version)
	var events []string
	require.NoError(t, b.db.Select(&events,
		`select involved_object_name || ' ' || actor || ' ' || (annotations->>'event-controller/requestID') from events
			where reason = 'DeviceConflictResolved'`))
	require.Equal(t, []string{"web-1 user:none rollcall/7"}, events)
	require.Eventually(t, func() bool { v, _ := b.fake.Store().Get(renderedKey("web-1")); return v == "8" }, 2*time.Minute,
		10*time.Millisecond)
	n, err = b.client.Resume(t.Context(), org, []string{"web-1"}, "rollcall/8")
	require.NoError(t, err)
	require.Zero(t, n)

	b.exec(`update devices set annotations = annotations || '{"device-controller/conflictPaused": "true"}'
		where name = 'web-1'`)
	n, err = b.client.Resume(t.Context(), org, []string{"web-1"}, "rollcall/9")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.eventually("web-1", func(r row) bool { return r.Version == "9" }) // though its spec was rendered before
}

func TestAResumeThatDiesRendersNothing(t *testing.T) {
	t.Parallel()
	for _, point := range []fake.Point{fake.ResumeAfterStatement, fake.ResumeAfterEvent} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.paused("web-1", "5", "7")
			b.fake.Kill(point, 1)
			_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
			require.ErrorIs(t, err, flightctl.ErrOutcomeUnknown)
			n, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
			require.NoError(t, err)
			require.Zero(t, n)
			b.idle()
			r := b.row("web-1")
			require.Equal(t, "5", r.Version, "neither the row nor an event in the table renders")
			require.Empty(t, r.Paused)

			b.exec(`update devices set annotations = annotations || '{"device-controller/conflictPaused": "true"}'`)
			n, err = b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
			require.NoError(t, err)
			require.Equal(t, 1, n)
			b.eventually("web-1", func(r row) bool { return r.Version == "8" })
		})
	}
}

func TestAnAnswerThatIsLostIsDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.fake.Kill(fake.ResumeAfterAll, 1)
	_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.ErrorIs(t, err, flightctl.ErrOutcomeUnknown)
	b.eventually("web-1", func(r row) bool { return r.Version == "8" })
}

func TestAnEventWithoutTheQueueRendersNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.exec(`update devices set annotations = annotations - 'device-controller/conflictPaused' -
		'device-controller/renderedSpecHash'`)
	b.exec(`insert into events (org_id, name, annotations, details, created_at, reason, involved_object_kind,
		involved_object_name)
		values ($1, 'e', '{}', 'null', now(), 'DeviceConflictResolved', 'Device', 'web-1')`, org)
	b.paused("web-2", "5", "7")
	_, err := b.client.Resume(t.Context(), org, []string{"web-2"}, "id")
	require.NoError(t, err)
	b.eventually("web-2", func(r row) bool { return r.Version == "8" })
	require.Equal(t, "5", b.row("web-1").Version)
}

func TestAResumeWhileTheStoreIsAwayForAMomentHangsAndIsDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.fake.StopStore()
	answered := make(chan error, 1)
	go func() { _, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id"); answered <- err }()
	b.eventually("web-1", func(r row) bool { return r.Paused == "" })
	select {
	case err := <-answered:
		require.Fail(t, "it has not hung", "%v", err)
	default:
	}
	require.NoError(t, b.fake.StartStore())
	require.NoError(t, <-answered)
	b.eventually("web-1", func(r row) bool { return r.Version == "8" })
}

func TestAnEventThatTheQueueNeverTakesIsGivenUp(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *fake.Config) { cfg.QueueBackoff = time.Millisecond })
	b.paused("web-1", "5", "7")
	b.fake.StopStore()
	n, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.NoError(t, err)
	require.Equal(t, 1, n, "the answer does not say that nothing will be rendered")
	require.Equal(t, 1, b.events("DeviceConflictResolved"))
	require.NoError(t, b.fake.StartStore())
	b.rendersOthers()
	require.Equal(t, "5", b.row("web-1").Version)
}

func TestAResumeWhoseCallerGoesLosesItsEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 3 {
		b.paused(fmt.Sprintf("web-%d", i), "5", "7")
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.fake.Do(fake.ResumeAfterStatement, func(ctx context.Context) {
		cancel()
		<-ctx.Done()
	})
	ended := make(chan struct{})
	b.fake.Do(fake.ResumeAfterAll, func(context.Context) { close(ended) })
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.fake.URL()+"/api/v1/deviceactions/resume",
		strings.NewReader(`{"labelSelector": ""}`))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer token-of-admin")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: b.ca.Pool()}, DisableKeepAlives: true}
	_, err = (&http.Client{Transport: transport}).Do(r)
	require.ErrorIs(t, err, context.Canceled)
	<-ended
	b.rendersOthers()
	require.Zero(t, b.events("DeviceConflictResolved"))
	for i := range 3 {
		r := b.row(fmt.Sprintf("web-%d", i))
		require.Empty(t, r.Paused)
		require.Equal(t, "5", r.Version)
	}
}

// events is how many events have this reason and are not of a device that rendersOthers has made.
func (b *bundle) events(reason string) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.Get(&n,
		`select count(*) from events where reason = $1 and involved_object_name <> 'other'`, reason))
	return n
}

// rendersOthers waits until the worker has rendered a device that was resumed now, so that it has passed over those
// which it has not rendered yet.
func (b *bundle) rendersOthers() {
	b.t.Helper()
	b.paused("other", "5", "7")
	_, err := b.client.Resume(b.t.Context(), org, []string{"other"}, "id")
	require.NoError(b.t, err)
	b.eventually("other", func(r row) bool { return r.Version == "8" })
}

func TestWhatIsRenderedFromAStaleRowIsBelowTheDevice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "5") // its agent runs 7 and has sent no status
	_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.NoError(t, err)
	b.eventually("web-1", func(r row) bool { return r.Version == "6" })
}

func TestSelectorsOfAResume(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 3 {
		b.paused(fmt.Sprintf("web-%d", i), "5", "7")
	}
	b.exec(`update devices set labels = '{"site": "a"}' where name = 'web-2'`)
	resume := func(body map[string]any) answer { return b.user("POST", "/deviceactions/resume", body) }
	require.Equal(t, 400, resume(map[string]any{}).code)
	require.Equal(t, 400, resume(map[string]any{"fieldSelector": "status.summary.status=ConflictPaused"}).code)
	require.JSONEq(t, `{"resumedDevices": 1}`, resume(map[string]any{"labelSelector": "site=a"}).body)
	require.JSONEq(t, `{"resumedDevices": 1}`, resume(map[string]any{"fieldSelector": "metadata.name=web-0"}).body)
	require.JSONEq(t, `{"resumedDevices": 1}`, resume(map[string]any{"fieldSelector": "metadata.name!=''"}).body)
}

func TestTheLimitOfAnAddress(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 3, 0, 0, 0, time.UTC)
	b := setup(t, func(cfg *fake.Config) { cfg.Now = func() time.Time { return now } })
	for i := range 300 {
		require.Equal(t, 200, b.user("GET", "/version", nil).code, i)
	}
	require.Equal(t, 429, b.user("GET", "/version", nil).code)
	err := b.client.Approve(t.Context(), org, "web-1", nil, false)
	var tooMany *flightctl.Error
	require.True(t, errors.As(err, &tooMany))
	require.Equal(t, time.Minute, tooMany.RetryAfter)
	require.Equal(t, 2, b.fake.Calls()["429"])
	now = now.Add(90 * time.Second)
	require.Equal(t, 200, b.user("GET", "/version", nil).code)
}

func TestTokensAndRoles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	found := b.client.Check(t.Context())
	for _, f := range found {
		require.Equal(t, flightctl.OK, f.Level, "%+v", f)
	}
	require.Equal(t, "v1.4.0-fake", found[0].Version)
	_, err := b.client.Resume(t.Context(), "11111111-2222-3333-4444-555555555555", []string{"web-1"}, "id")
	require.ErrorIs(t, err, flightctl.ErrForbidden)
	b.fake.SetUser("token-of-admin", "olga", fake.RoleOperator)
	_, err = b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.ErrorIs(t, err, flightctl.ErrForbidden)
	require.ErrorIs(t, b.client.Decommission(t.Context(), org, "web-1", flightctl.Unenroll), flightctl.ErrForbidden)
	b.fake.SetUser("another", "olga", fake.RoleAdmin)
	_, err = b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.ErrorIs(t, err, flightctl.ErrUnauthorized)
	require.Equal(t, "true", b.row("web-1").Paused)
}
