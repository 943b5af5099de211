package agentapi_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

func TestTheCertificateIsTheDevice(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5", "web-2": "5"})
	issue := func(p authority.Pair, err error) authority.Pair {
		t.Helper()
		require.NoError(t, err)
		return p
	}
	for name, p := range map[string][]authority.Pair{
		"no certificate":      nil,
		"another authority's": {issue(newAuthority(t).Device("web-1", lifetime))},
		"expired":             {issue(b.ca.Device("web-1", -time.Minute))},
		"a server's":          {issue(b.ca.Server([]string{"device:web-1"}, lifetime))},
	} {
		a := agent{bench: b, name: "web-1", http: b.client(p...)}
		_, err := a.try(http.MethodGet, a.rendered(""), nil)
		require.ErrorContains(t, err, "tls: ", name)
	}
	for _, cn := range []string{
		"device:web-2", "web-1", "device:", "client-enrollment", "client-enrollment-web-1",
		"DEVICE:web-1", "device:web-1 ", "device:web-1/x",
	} {
		a := agent{bench: b, name: "web-1", http: b.client(issue(b.ca.Client(cn, lifetime)))}
		requireStatus(t, a.poll("5"), http.StatusForbidden, "certificate")
		requireStatus(t, a.put(`{}`), http.StatusForbidden, "certificate")
	}
	require.Empty(t, b.signals.versions())
	served(t, b.agent("web-1").poll("5"))
}

func TestOnlyADeviceThatIsNotThereIsA404(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"gone": "5"})
	b.store.DB().MustExec(`update devices set deleted_at = now()`)
	for _, name := range []string{"gone", "never-was"} {
		a := b.agent(name)
		requireStatus(t, a.poll("5"), http.StatusNotFound, name)
		requireStatus(t, a.put(`{}`), http.StatusNotFound, name)
	}
	a := b.agent("web-1")
	requireStatus(t, a.do(http.MethodGet, "/api/v1/devices/web-1", ""), http.StatusNotImplemented, "no such call")
	requireStatus(t, a.do(http.MethodGet, "/api/v1/devices/web-1/else", ""), http.StatusNotImplemented, "no such call")
	requireStatus(t, a.do(http.MethodGet, "/", ""), http.StatusNotFound, "nothing here")
	requireStatus(t, a.do(http.MethodPost, a.rendered(""), ""), http.StatusMethodNotAllowed, "GET")
	require.Equal(t, http.StatusMethodNotAllowed, a.do(http.MethodHead, a.rendered(""), "").code, "a HEAD is no poll")
	requireStatus(t, a.do(http.MethodDelete, "/api/v1/devices/web-1/status", ""), http.StatusMethodNotAllowed,
		"PATCH or PUT")
}

func TestADatabaseThatIsAwayIsA503(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*bench{
		"no connection": newBench(t), "no table": newBench(t), "half a schema": newBench(t),
		// The gateway's role belongs to the server, and the others have made it.
		"no schema": newBenchOn(t, devtest.EmptyDatabase(t)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			switch name {
			case "no connection":
				require.NoError(t, b.serving.Close())
			case "no table":
				b.store.DB().MustExec(`drop table devices cascade`)
			case "half a schema":
				b.store.DB().MustExec(`drop table rollcall.roll`)
			}
			a := b.agent("web-1")
			for range 3 {
				requireStatus(t, a.poll("5"), http.StatusServiceUnavailable, "try again")
				requireStatus(t, a.poll("abc"), http.StatusServiceUnavailable, "try again")
				requireStatus(t, a.put(`{"config":{"renderedVersion":"7"}}`), http.StatusServiceUnavailable, "try again")
			}
			require.Equal(t, http.StatusOK, b.ops("/healthz").code)
		})
	}
}

// A database that hangs is away too, for as long as it hangs.
func TestADatabaseThatDoesNotAnswerIsA503(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	served(t, a.poll("5"))
	other, err := inventory.Open(t.Context(), b.url)
	require.NoError(t, err)
	defer other.Close()
	tx, err := other.DB().Beginx()
	require.NoError(t, err)
	_, err = tx.Exec(`lock table devices in access exclusive mode`)
	require.NoError(t, err)
	requireStatus(t, a.poll("6"), http.StatusServiceUnavailable, "try again")
	require.NoError(t, tx.Rollback())
	require.Equal(t, http.StatusNoContent, a.poll("6").code)
}

func TestATemporalThatIsAwayIsA503WhereARollCallWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	closed, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: log.NewStructuredLogger(quiet())})
	require.NoError(t, err)
	defer closed.Close()
	b.to(closed)
	served(t, a.poll("5"))
	b.roll("r1")
	requireStatus(t, a.poll("5"), http.StatusServiceUnavailable, "roll call")
	require.Equal(t, "5", *b.text(`select noted_version from rollcall.roll where name = 'web-1'`),
		"the watch tells it later")
	requireStatus(t, a.put(`{"config":{"renderedVersion":"7"}}`), http.StatusServiceUnavailable, "roll call")
	requireStatus(t, a.poll("007"), http.StatusServiceUnavailable, "roll call")
	require.Equal(t, "AwaitingReconnect", *b.text(`select status #>> '{summary,status}' from devices`))

	// When Temporal is back, the next poll does it again.
	c := b.work()
	b.restoreSuperseding(c, "r2")
	require.Equal(t, "6", version(served(t, a.poll("5"))), "it was restored at 6, which the gateway had rendered")
}

// restoreSuperseding starts a restore that takes over from one whose workflows never ran.
func (b *bench) restoreSuperseding(c client.Client, id string) {
	b.t.Helper()
	b.store.DB().MustExec(`update rollcall.restores set state = 'Superseded', superseded_by = $1`, id)
	b.restore(c, id)
}

func TestADeviceHasAFewRequestsOpenAndOthersDoNotMind(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.OpenPerDevice = 3 })
	b.give(map[string]string{"loud": "5", "quiet": "5"})
	b.roll("r1")
	loud := b.agent("loud")
	for range 3 {
		loud.polling("5")
	}
	b.held(3)
	requireStatus(t, loud.poll("5"), http.StatusTooManyRequests, "3 requests open")
	requireStatus(t, loud.put(`{}`), http.StatusTooManyRequests, "3 requests open")

	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for range 50 {
				if got, err := loud.try(http.MethodGet, loud.rendered(""), nil); err != nil ||
					got.code != http.StatusTooManyRequests {
					panic(fmt.Sprint(got, err))
				}
			}
		})
	}
	quiet := b.agent("quiet")
	for range 20 {
		require.Equal(t, http.StatusOK, quiet.put(`{}`).code)
	}
	flood.Wait()
}

func TestALoopingAgentDoesNotFillItsHistory(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	for range 50 {
		requireStatus(t, a.poll("abc"), http.StatusBadRequest, "digits")
	}
	require.Len(t, b.signals.versions(), 1)
}

func TestItEndsGracefully(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	held := b.agent("web-1").polling("5")
	b.held(1)
	b.stop()
	require.Equal(t, http.StatusNoContent, (<-held).code)
	_, err := b.agent("web-1").try(http.MethodGet, "/", nil)
	require.Error(t, err)
	require.Zero(t, b.ops("/healthz").code)
}

func TestItTellsHowItIs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.Equal(t, http.StatusOK, b.ops("/readyz").code)
	requireStatus(t, b.agent("web-1").poll(""), http.StatusNotFound, "web-1")
	require.Contains(t, b.ops("/metrics").body, `rollcall_gateway_requests_total{call="rendered",code="404"} 1`)
	b.store.DB().MustExec(`drop schema rollcall cascade`)
	unready := b.ops("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, unready.code)
	require.Contains(t, unready.body, "starter migrate")
	require.Equal(t, http.StatusOK, b.ops("/healthz").code)
}

func TestItIsReadyOnlyWhileTheDatabaseTakesWrites(t *testing.T) {
	t.Parallel()
	devtest.ReadyWhileWritable(t, waitLimit, func(t *testing.T, database string) func(string) (int, string) {
		b := newBenchOn(t, database)
		require.Equal(t, http.StatusOK, b.ops("/readyz").code)
		return func(path string) (int, string) {
			got := b.ops(path)
			return got.code, got.body
		}
	})
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		_, err := agentapi.New(agentapi.Config{Logger: quiet(), Listen: listen, PlainHTTP: true})
		require.ErrorContains(t, err, "anyone could speak", listen)
	}
	_, err := agentapi.New(agentapi.Config{Logger: quiet(), Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "certificate")

	b := newBench(t, func(c *agentapi.Config) { c.PlainHTTP, c.Certificate, c.ClientCAs = true, nil, nil })
	b.give(map[string]string{"web-1": "5"})
	response, err := http.Get("http://" + b.gateway.Address() + "/api/v1/devices/web-1/rendered?knownRenderedVersion=5")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}
