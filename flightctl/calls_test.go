package flightctl

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestResumeNamesTheDevicesAndItsRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"resumedDevices": 2}`))
	n, err := b.client.Resume(t.Context(), org, []string{"web-1", "web-2", "web-3"}, "rollcall-7")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []seen{{
		method: "POST", path: "/api/v1/deviceactions/resume", org: org, token: "Bearer sesame", id: "rollcall-7",
		body: map[string]any{"fieldSelector": "metadata.name in (web-1,web-2,web-3)"}, at: b.clock.Now(),
	}}, b.requests())
}

func TestResumeOfNobodyAsksNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"resumedDevices": 9}`))
	n, err := b.client.Resume(t.Context(), org, nil, "id")
	require.NoError(t, err)
	require.Zero(t, n)
	require.Empty(t, b.requests(), "a resume without a selector would be for all devices")
}

func TestANameThatIsASelectorIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"resumedDevices": 1}`))
	for _, name := range []string{"", "a,metadata.owner!=x", "a) ", "Web", "../x"} {
		_, err := b.client.Resume(t.Context(), org, []string{name}, "id")
		require.ErrorIs(t, err, ErrRejected)
		require.ErrorIs(t, b.client.Approve(t.Context(), org, name, nil, false), ErrRejected)
	}
	require.Empty(t, b.requests())
	n, err := b.client.Resume(t.Context(), org, []string{"a) ", "web-1", "Web"}, "id")
	require.NoError(t, err, "one name keeps no other device waiting")
	require.Equal(t, 1, n)
	require.Equal(t, map[string]any{"fieldSelector": "metadata.name=web-1"}, b.requests()[0].body)
}

func TestTheUserIsAskedForOnceForAToken(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"preferred_username": "rollcall", "sub": "4711"}`))
	for range 2 {
		name, err := b.client.User(t.Context(), org)
		require.NoError(t, err)
		require.Equal(t, "rollcall", name)
	}
	require.Len(t, b.requests(), 1)
	require.Equal(t, "/api/v1/auth/userinfo", b.requests()[0].path)
}

func TestResumeCountsWhatWasDoneBeforeAnError(t *testing.T) {
	t.Parallel()
	calls := 0
	b := setup(t, func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		if calls++; calls == 2 {
			status(w, 500, "failed to resume devices")
			return
		}
		_, _ = fmt.Fprint(w, `{"resumedDevices": 500}`)
	})
	n, err := b.client.Resume(t.Context(), org, names(1200), "id")
	require.ErrorIs(t, err, ErrOutcomeUnknown)
	require.Equal(t, 500, n)
	require.ErrorContains(t, err, "it may have been done all the same")
}

func TestResumeWithoutACountIsUnknown(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{`{}`, `<html>login</html>`} {
		b := setup(t, says(answer))
		_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
		require.ErrorIs(t, err, ErrOutcomeUnknown)
	}
}

func TestTheOtherCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	ctx := t.Context()
	require.NoError(t, b.client.Approve(ctx, org, "web-1", nil, false))
	require.NoError(t, b.client.Approve(ctx, "", "web-1", map[string]string{"site": "a"}, true))
	require.NoError(t, b.client.DeleteEnrollmentRequest(ctx, "default", "web-1"))
	require.NoError(t, b.client.Decommission(ctx, org, "web-1", Unenroll))
	require.ErrorIs(t, b.client.Decommission(ctx, org, "web-1", "Explode"), ErrRejected)

	var got []string
	for _, r := range b.requests() {
		got = append(got, fmt.Sprintf("%s %s %s %v", r.method, r.path, r.org, r.body))
	}
	require.Equal(t, []string{
		"PUT /api/v1/enrollmentrequests/web-1/approval " + org + " map[approved:true labels:map[]]",
		"PUT /api/v1/enrollmentrequests/web-1/approval  map[approved:true labels:map[site:a] replaceLabels:true]",
		"DELETE /api/v1/enrollmentrequests/web-1 " + org + " map[]",
		"PUT /api/v1/devices/web-1/decommission " + org + " map[target:Unenroll]",
	}, got)
}

func TestErrorsTellWhatIsKnown(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]error{
		400: ErrRejected, 401: ErrUnauthorized, 403: ErrForbidden, 404: ErrNotFound, 409: ErrConflict,
		429: ErrTooManyRequests, 500: ErrOutcomeUnknown, 503: ErrOutcomeUnknown, 302: ErrRejected,
	} {
		b := setup(t, func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
			w.Header().Set("Location", "/elsewhere")
			status(w, code, "because")
		})
		err := b.client.Approve(t.Context(), org, "web-1", nil, false)
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, "approve web-1: Flight Control: ")
		require.ErrorContains(t, err, "because")
		require.NotContains(t, err.Error(), "sesame")
		require.Len(t, b.requests(), 1, "nothing is repeated or followed")
	}
}

func TestAnExpiredTokenIsReportedAsExpired(t *testing.T) {
	t.Parallel()
	b := setup(t, func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		status(w, 401, "failed to validate token")
	})
	b.cfg.Token = SecretValue(jwt(b.clock.Now().Add(-time.Minute)))
	err := b.open(t).Approve(t.Context(), org, "web-1", nil, false)
	require.ErrorIs(t, err, ErrTokenExpired)
	require.ErrorIs(t, err, ErrUnauthorized)
	require.ErrorContains(t, err, "it ended at 2026-09-01T02:59:00Z")

	b.cfg.Token = SecretValue(jwt(b.clock.Now().Add(time.Minute)))
	err = b.open(t).Approve(t.Context(), org, "web-1", nil, false)
	require.ErrorIs(t, err, ErrUnauthorized)
	require.NotErrorIs(t, err, ErrTokenExpired)
}

func TestNoAnswerIsUnknownAndNoConnectionIsNot(t *testing.T) {
	t.Parallel()
	b := setup(t, func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	err := b.client.Approve(t.Context(), org, "web-1", nil, false)
	require.ErrorIs(t, err, ErrOutcomeUnknown)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.client.Approve(ctx, org, "web-1", nil, false), context.Canceled)

	b.server.Close()
	require.ErrorIs(t, b.client.Approve(t.Context(), org, "web-1", nil, false), ErrUnreachable)
}

func TestAnUnknownAuthorityIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	b.cfg.CA = nil
	err := b.open(t).Approve(t.Context(), org, "web-1", nil, false)
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "unknown authority; set ROLLCALL_FLIGHTCTL_CA_FILE")
	require.Empty(t, b.requests())

	b.cfg.CA = []byte("not PEM")
	_, err = Open(b.cfg)
	require.ErrorContains(t, err, "no PEM certificate")
}

func TestA429StopsAllCallsForAsLongAsItSays(t *testing.T) {
	t.Parallel()
	limited := true
	b := setup(t, func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		if limited {
			w.Header().Set("Retry-After", "60")
			status(w, 429, "Rate limit exceeded, please try again later")
			return
		}
		_, _ = fmt.Fprint(w, `{}`)
	})
	err := b.client.Approve(t.Context(), org, "web-1", nil, false)
	var tooMany *Error
	require.ErrorAs(t, err, &tooMany)
	require.Equal(t, time.Minute, tooMany.RetryAfter)
	limited = false

	require.NoError(t, b.clock.Sleep(t.Context(), 59*time.Second))
	require.ErrorAs(t, b.client.DeleteEnrollmentRequest(t.Context(), org, "web-2"), &tooMany)
	require.Equal(t, time.Second, tooMany.RetryAfter)
	require.Len(t, b.requests(), 1, "nothing is sent meanwhile")

	require.NoError(t, b.clock.Sleep(t.Context(), time.Second))
	require.NoError(t, b.client.Approve(t.Context(), org, "web-1", nil, false))
}

func TestOurCallsStayBelowHalfOfTheLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	for i := range 500 {
		require.NoError(t, b.client.Approve(t.Context(), org, fmt.Sprintf("web-%d", i), nil, false))
		if i == 200 {
			require.NoError(t, b.clock.Sleep(t.Context(), 10*time.Minute)) // an idle time saves up a burst and no more
		}
	}
	requests := b.requests()
	most := 0
	for i, r := range requests {
		within := 0
		for _, other := range requests[i:] {
			if other.at.Before(r.at.Add(time.Minute)) {
				within++
			}
		}
		most = max(most, within)
	}
	require.Less(t, most, 150)
	require.Greater(t, most, 130, "and use what they may")
}

func TestACallThatHasNoTimeForItsTurnIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	b.cfg.Clock, b.cfg.RequestsPerMinute = nil, 1
	client := b.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range requestBurst {
		require.NoError(t, client.Approve(ctx, org, "web-1", nil, false))
	}
	require.ErrorIs(t, client.Approve(ctx, org, "web-1", nil, false), ErrTooManyRequests)
	require.Len(t, b.requests(), requestBurst)

	b.cfg.RequestsPerMinute = 0
	require.ErrorContains(t, b.open(t).noTurn("resume web-1", context.Canceled), "; try again in a moment",
		"and not in 0s")
}

func TestATokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("first\n"), 0o600))
	b.cfg.Token = SecretFile(file)
	client := b.open(t)
	require.NoError(t, client.Approve(t.Context(), org, "web-1", nil, false))
	require.NoError(t, os.WriteFile(file, []byte("second\n"), 0o600))
	require.NoError(t, client.Approve(t.Context(), org, "web-1", nil, false))
	require.Equal(t, "Bearer first", b.requests()[0].token)
	require.Equal(t, "Bearer second", b.requests()[1].token)

	require.NoError(t, os.Remove(file))
	require.ErrorContains(t, client.Approve(t.Context(), org, "web-1", nil, false), "token: read secret: open "+file)
}

// jwt is an unsigned token with an end.
func jwt(end time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(fmt.Appendf(nil, `{"exp":%d}`, end.Unix())) + ".x"
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("web-%d", i)
	}
	return all
}

// freeAddress is one where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func port(address string) string { return address[strings.LastIndex(address, ":")+1:] }
