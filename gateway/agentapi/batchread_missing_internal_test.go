package agentapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

// A read that many polls share may miss a device. Its agent is told that the device is not there only when a read of
// the device's own has not found it either.
func TestABatchReadMakesNo404(t *testing.T) {
	t.Parallel()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	const web = `{"apiVersion": "flightctl.io/v1beta1", "kind": "Device", "metadata": {"name": "web-1"},
		"spec": {}, "status": {}}`
	_, err = store.Import(t.Context(), strings.NewReader(web), inventory.ImportOptions{})
	require.NoError(t, err)
	g := &Gateway{cfg: Config{Store: store, OrgID: runbook.DefaultOrgID}, reads: make(chan struct{}, 1)}

	for name, found := range map[string]map[string]inventory.AgentDevice{"missed": {}, "not read": nil} {
		d, err := (&poll{Gateway: g, caller: caller{name: "web-1"}}).fromBatch(t.Context(), &batchRead{found: found})
		require.NoError(t, err, name)
		require.Equal(t, "web-1", d.Name, name)
	}
	_, err = (&poll{Gateway: g, caller: caller{name: "web-2"}}).fromBatch(t.Context(), &batchRead{})
	require.Equal(t, http.StatusNotFound, asProblem(err).code)
	require.True(t, asProblem(err).absent)
	_, err = (&poll{Gateway: g, caller: caller{name: "web-2"}}).fromBatch(t.Context(), &batchRead{err: errNotRead})
	require.ErrorIs(t, err, errNotRead)
}
