package agentapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
)

// A fleet that comes back at once is let in little by little, and no report is lost.
func TestAFloodOfReportsIsSmoothed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.ReportsAtOnce = 2 })
	b.give(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5"})
	b.roll("r1")
	require.Equal(t, http.StatusNoContent, b.agent("web-1").poll("5").code)
	require.Equal(t, http.StatusNoContent, b.agent("web-2").poll("5").code)
	third := b.agent("web-3")
	requireStatus(t, third.poll("4"), http.StatusServiceUnavailable, "many devices report at once")
	requireStatus(t, third.put(`{"config":{"renderedVersion":"8"}}`), http.StatusServiceUnavailable, "many devices report at once")
	require.Equal(t, []string{"5", "5"}, b.signals.versions(), "Temporal has not been asked")
	require.Contains(t, b.ops("/metrics").body, `rollcall_gateway_reports_total{result="deferred"} 2`)
	require.Contains(t, b.ops("/metrics").body, "rollcall_gateway_reports_under_way 2\n")
	require.Equal(t, http.StatusNoContent, b.agent("web-1").poll("5").code, "whoever was let in is not turned away")

	b.reconnect("r1", "web-2", "5")
	require.Eventually(t, func() bool {
		return strings.Contains(b.ops("/metrics").body, "rollcall_gateway_reports_under_way 1\n")
	}, patience, 10*time.Millisecond)
	require.Equal(t, http.StatusNoContent, third.poll("4").code)
	require.Equal(t, []string{"5", "5", "4"}, b.signals.versions())
}
