package agentapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/inventory"
	"rollcall/runbook"
)

// A live Flight Control has its own server for the agents, also when its restore has ended: a second writer answers
// nothing, least of all a 404, at which an agent throws its certificate away.
func TestNothingIsAnsweredBesideFlightControl(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	require.Equal(t, http.StatusOK, b.ops("/readyz").code)
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1", Mode: runbook.ModeFlightctl})
	require.NoError(t, err)
	a := b.agent("web-1")
	const says = "is one beside Flight Control"
	requireStatus(t, a.poll("5"), http.StatusServiceUnavailable, says)
	requireStatus(t, a.put(`{"config":{"renderedVersion":"7"}}`), http.StatusServiceUnavailable, says)
	requireStatus(t, b.agent("gone").poll("5"), http.StatusServiceUnavailable, says)
	require.NotContains(t, *b.text(`select status::text from devices`), `"7"`)
	require.Empty(t, b.signals.versions())
	ready := b.ops("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, ready.code)
	require.Contains(t, ready.body, says)

	second, err := agentapi.New(agentapi.Config{
		Store: b.store, Temporal: b.signals, Logger: quiet(), Listen: "127.0.0.1:0", PlainHTTP: true,
	})
	require.NoError(t, err)
	require.ErrorContains(t, second.Run(t.Context()), says)

	_, err = b.store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	requireStatus(t, a.poll("5"), http.StatusServiceUnavailable, says)

	_, err = b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r2"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.poll("5").code)
	require.Equal(t, http.StatusNotFound, b.agent("gone").poll("5").code)
}
