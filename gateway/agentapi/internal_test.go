package agentapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Agents give a poll up after four minutes. Flight Control's servers call a device disconnected whose last_seen stands
// still.
func TestTheTimesThatAgentsGoBy(t *testing.T) {
	t.Parallel()
	c := Config{}.withDefaults()
	require.Equal(t, 3*time.Minute, c.PollFor)
	require.Equal(t, 15*time.Second, c.SeenEvery)
	require.LessOrEqual(t, c.PollFor+writeTimeout, 4*time.Minute)
}

// The handshake checks that a certificate is valid, and a connection may outlive it.
func TestACertificateThatExpiresOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	g := &Gateway{cfg: Config{Logger: slog.New(slog.DiscardHandler)}.withDefaults(), metrics: newMetrics(nil)}
	g.enrolls = newEnrolls(g.cfg.RequestsPerMinute)
	for cn, path := range map[string]string{
		"device:web-1": "/api/v1/devices/web-1/rendered", "client-enrollment": "/api/v1/enrollmentrequests/web-1",
		"device:web-2": "/api/v1/certificatesigningrequests/web-2-a",
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{
			Subject: pkix.Name{CommonName: cn}, SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Second),
		}}}
		answered := httptest.NewRecorder()
		g.handler().ServeHTTP(answered, r)
		require.Equal(t, http.StatusUnauthorized, answered.Code, cn)
		require.Contains(t, answered.Body.String(), "has expired", cn)
	}
}

// Numbers that become visible out of order are all asked for until they have been seen.
func TestTheCursorMissesNoNumber(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		order := random.Perm(200)
		c := cursor{last: 100}
		seen := map[int64]bool{}
		for len(order) > 0 {
			visible := order[:1+random.IntN(min(20, len(order)))]
			order = order[len(visible):]
			for _, n := range visible {
				id := int64(101 + n)
				asked := false
				for _, r := range c.ranges() {
					asked = asked || r.From <= id && id <= r.To
				}
				require.True(t, asked, "number %d is not asked for", id)
			}
			for id := int64(101); id <= 300; id++ { // a query answers in this order
				for _, n := range visible {
					if id == int64(101+n) {
						c.note(id, now)
						seen[id] = true
					}
				}
			}
			for _, r := range c.ranges() {
				for id := r.From; id <= min(r.To, 300); id++ {
					require.False(t, seen[id], "number %d is asked for again", id)
				}
			}
		}
		require.Empty(t, c.gaps)
		require.Equal(t, int64(300), c.last)
	}
}

func TestTheCursorForgetsWhatNeverComes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := cursor{}
	c.note(10, now)
	c.forget(now.Add(gapTimeout))
	require.Len(t, c.gaps, 1)
	c.forget(now.Add(gapTimeout + 1))
	require.Empty(t, c.gaps)
	for i := range int64(3 * maxGaps) {
		c.note(20+2*i, now)
	}
	c.forget(now)
	require.Len(t, c.gaps, maxGaps)
}

func TestTheCourierRepeatsAfterAWhile(t *testing.T) {
	t.Parallel()
	var c reportDedup
	now := time.Now()
	seven := report{"r1", runbook.StateAwaitingReconnect, "7"}
	require.False(t, c.isRepeated("web-1", seven, now))
	c.remember("web-1", seven, now)
	require.True(t, c.isRepeated("web-1", seven, now.Add(time.Second)))
	require.False(t, c.isRepeated("web-2", seven, now))
	require.False(t, c.isRepeated("web-1", report{"r1", runbook.StateAwaitingReconnect, "8"}, now))
	require.False(t, c.isRepeated("web-1", report{"r2", runbook.StateAwaitingReconnect, "7"}, now), "another roll call")
	require.False(t, c.isRepeated("web-1", seven, now.Add(repeatAfter)))
	c.sweep(now.Add(repeatAfter))
	require.Empty(t, c.last)
}

// What is passed on of a version reads as the version did: the same number, or no version.
func FuzzPresentable(f *testing.F) {
	for _, v := range []string{
		"", "0", "7", "abc", " 7", "+7", "-1", "007", "9223372036854775807", "9223372036854775808", strings.Repeat("9", 40),
		"٧", "7\x00", "7\xff", strings.Repeat("é", 99),
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, version string) {
		shown := printable(version)
		require.True(t, utf8.ValidString(shown))
		require.LessOrEqual(t, len(shown), longestVersion+len("…"))
		require.NotContains(t, shown, "\x00")
		want, wantErr := runbook.ParseVersion(version)
		got, err := runbook.ParseVersion(shown)
		require.Equal(t, wantErr == nil, err == nil, "%q became %q", version, shown)
		require.Equal(t, want, got)
	})
}

// Whatever comes as a body is refused, or has a status that is an object and a version that is one.
func FuzzDecodeStatus(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `{"status":{}}`, `{"status":null}`,
		`{"kind":"Device","metadata":{"name":"web-1"},"status":{"config":{"renderedVersion":"7"}}}`,
		`{"status":{"config":{"renderedVersion":7}}}`, `{"status":{"config":{"renderedVersion":null}}}`,
		`{"status":{"config":null}}`,
		`{"status":{"config":{"renderedVersion":"٧"}}}`, `{"status":{"a":"\u0000"}}`, `{"status":{},"status":7}`,
		`{"STATUS":{}}`, deepBody,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decodeStatus(body, "web-1")
		if err != nil {
			require.Equal(t, 400, asProblem(err).code)
			return
		}
		var status map[string]any
		require.NoError(t, json.Unmarshal(a.status, &status))
		require.NotNil(t, status)
		if a.version == nil {
			require.NoError(t, a.invalid)
			return
		}
		_, err = runbook.ParseVersion(*a.version)
		require.Equal(t, err == nil, a.invalid == nil)
	})
}

var deepBody = `{"status":` + strings.Repeat(`{"a":`, 50) + `1` + strings.Repeat(`}`, 51)

// What a poll waits under a flood, before it is held, is part of PollFor: a response that comes much later is cut off.
func TestAHoldCountsFromTheRequest(t *testing.T) {
	t.Parallel()
	g := &Gateway{
		cfg:     Config{Logger: slog.New(slog.DiscardHandler), PollFor: time.Hour, RecheckEvery: time.Hour},
		metrics: newMetrics(nil),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := poll{Gateway: g, began: time.Now().Add(-2 * time.Hour)}
	device, err := p.hold(ctx, inventory.AgentDevice{State: runbook.StateAwaitingReconnect}, nil)
	require.NoError(t, err, "it is answered, and not held for another hour")
	require.Nil(t, device)
}
