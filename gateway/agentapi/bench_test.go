package agentapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/runbook"
)

// BenchmarkADeviceOnNoRoll compares a poll that no one waits for with a handler that does nothing but read one row,
// over the same kind of connection.
func BenchmarkADeviceOnNoRoll(b *testing.B) {
	w := newBench(b, func(c *agentapi.Config) { c.PollFor, c.OpenPerDevice = time.Nanosecond, 100 })
	w.give(map[string]string{"web-1": "5"})
	a := w.agent("web-1")
	require.Equal(b, http.StatusOK, a.poll("5").code)
	oneRow, err := w.store.DB().Preparex(`select generation from devices where org_id = $1 and name = $2`)
	require.NoError(b, err)
	bare := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var generation int64
		err := oneRow.GetContext(r.Context(), &generation, runbook.DefaultOrgID, "web-1")
		if err != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	}))
	defer bare.Close()
	for _, c := range []*http.Client{a.http, bare.Client()} {
		c.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
	}
	for name, target := range map[string]struct {
		client *http.Client
		url    string
	}{
		"gateway": {a.http, "https://" + w.gateway.Address() + a.rendered("?knownRenderedVersion=6")},
		"one row": {bare.Client(), bare.URL},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					response, err := target.client.Get(target.url)
					if err != nil || response.StatusCode != http.StatusNoContent {
						b.Error(err, response)
						return
					}
					response.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
