package runbook_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// A mistyped field must not be taken for one that was left out.
func TestRequestsAreReadStrictly(t *testing.T) {
	t.Parallel()
	var report runbook.ReconnectRequest
	require.NoError(t, json.Unmarshal([]byte(`{"renderedVersion":"7","by":"alice","via":"cli"}`), &report))
	require.Equal(t, "7", report.Signal().RenderedVersion)
	require.Equal(t, "alice", report.Signal().Reporter())
	require.Equal(t, runbook.ViaCLI, report.Signal().Via)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"version":"7","by":"alice"}`), &report), "unknown field")
	agents := []byte(`{"renderedVersion":"7","by":"alice","agent":true}`)
	require.ErrorContains(t, json.Unmarshal(agents, &report), "unknown field")

	var withdrawal runbook.WithdrawRequest
	require.NoError(t, json.Unmarshal([]byte(`{"by":"alice","force":true}`), &withdrawal))
	require.True(t, withdrawal.Signal().Force)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"by":"alice","Forced":true}`), &withdrawal), "unknown field")
	require.ErrorContains(t, json.Unmarshal([]byte(`"alice"`), &withdrawal), "not a JSON object")
}
