package agentapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/gateway/agentapi"
	"rollcall/runbook"
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

// restoreSays answers as a restore does that has called so many of its devices.
type restoreSays struct{ called atomic.Int64 }

func (r *restoreSays) QueryWorkflow(_ context.Context, workflowID, _, query string, _ ...any) (converter.EncodedValue, error) {
	if workflowID != runbook.RestoreWorkflowID("r1") || query != runbook.QueryTally {
		return nil, fmt.Errorf("%s of %s is not asked for here", query, workflowID)
	}
	called := r.called.Load()
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(runbook.RestoreProgress{Phase: runbook.PhaseWaiting, Total: 20_000, Called: &called})
	return client.NewValue(payloads), err
}

// nobodyThere is a Temporal without workflows.
type nobodyThere struct{}

func (nobodyThere) SignalWorkflow(context.Context, string, string, string, any) error {
	return serviceerror.NewNotFound("no workflow")
}

// Agents are back long before the roll call has come to their devices: they are told when it will have, and nobody asks for
// their workflows meanwhile.
func TestAgentsWhoseTurnHasNotComeAreToldSo(t *testing.T) {
	t.Parallel()
	says := &restoreSays{}
	b := newBench(t, func(c *agentapi.Config) { c.Querier = says })
	b.signals.to = nobodyThere{}
	b.give(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5"})
	b.roll("r1")
	last := b.agent("web-3")
	require.Eventually(t, func() bool {
		got := last.poll("5")
		requireStatus(t, got, http.StatusServiceUnavailable, "the roll call")
		return strings.Contains(got.body, "has not come to the device yet")
	}, patience, 10*time.Millisecond)
	tried := len(b.signals.versions())
	requireStatus(t, last.poll("5"), http.StatusServiceUnavailable, "has not come to the device yet")
	const lastSeen = `select last_seen::text from device_timestamps where name = 'web-3'`
	status := func(version string) answer { return last.put(`{"config":{"renderedVersion":"` + version + `"}}`) }
	require.Equal(t, http.StatusOK, status("5").code, "it is seen to be back")
	back := b.text(lastSeen)
	require.NotNil(t, back)
	requireStatus(t, status("5"), http.StatusServiceUnavailable, "has not come to the device yet")
	require.Equal(t, back, b.text(lastSeen), "once is enough")
	require.Equal(t, http.StatusOK, status("8").code, "the inventory watch has another version to report")
	require.Contains(t, *b.text(`select status::text from devices where name = 'web-3'`), `"8"`)
	requireStatus(t, last.poll("8"), http.StatusServiceUnavailable, "has not come to the device yet")
	require.NotNil(t, b.text(lastSeen))
	requireStatus(t, last.poll("9"), http.StatusServiceUnavailable, "has not come to the device yet")
	require.Nil(t, b.text(lastSeen), "what was stored is not what it runs")
	require.Equal(t, http.StatusOK, status("9").code)
	requireStatus(t, status("nine"), http.StatusServiceUnavailable, "has not come to the device yet")
	require.Nil(t, b.text(lastSeen), "nor is it now")
	require.Equal(t, http.StatusOK, status("5").code)

	b.store.DB().MustExec(`update devices set status = '{}', annotations = '{"device-controller/conflictPaused": "true"}' where name = 'web-2'`)
	for range 2 {
		require.Equal(t, http.StatusOK, b.agent("web-2").put(`{"summary":{"status":"Online"}}`).code, "a human may be looking at it")
	}
	b.store.DB().MustExec(`update devices set annotations = '{"device-controller/awaitingReconnect": "true"}' where name = 'web-2'`)
	require.Len(t, b.signals.versions(), tried)
	require.Contains(t, b.ops("/metrics").body, `rollcall_gateway_reports_total{result="early"}`)

	says.called.Store(2)
	b.signals.mu.Lock()
	b.signals.to = nil // all workflows are there
	b.signals.mu.Unlock()
	require.Eventually(t, func() bool { return b.agent("web-2").poll("5").code == http.StatusNoContent }, patience, 10*time.Millisecond)
	requireStatus(t, last.poll("5"), http.StatusServiceUnavailable, "has not come to the device yet")
	says.called.Store(3)
	require.Eventually(t, func() bool { return last.poll("5").code == http.StatusNoContent }, patience, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, status("5").code, "its turn has come")
}
