package fake_test

import (
	"context"
	"errors"
	"fmt"
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

func TestAResumeWhileTheStoreIsAwayHangsAndIsDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.fake.StopStore()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := b.client.Resume(ctx, org, []string{"web-1"}, "id")
	require.ErrorIs(t, err, flightctl.ErrOutcomeUnknown)
	require.Empty(t, b.row("web-1").Paused, "no answer, and the row has changed")
	require.NoError(t, b.fake.StartStore())
	b.eventually("web-1", func(r row) bool { return r.Version == "8" })
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
