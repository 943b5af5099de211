package agentapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/runbook"
)

func TestAStatusIsStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	device := served(t, a.put(`{"summary":{"status":"Degraded"},"config":{"renderedVersion":"5"},"own":[1.50]}`))
	require.Equal(t, "web-1", device.Metadata.Name)
	require.Contains(t, string(device.Status), `"Degraded"`)
	require.Contains(t, string(device.Status), `1.50`)
	require.Contains(t, string(device.Status), `"lastSeen"`)
	require.Empty(t, b.signals.versions(), "nobody waits for it")
}

func TestAStatusPastWhatIsKnownIsAReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	waits := func(got answer, state runbook.State) {
		t.Helper()
		require.Contains(t, string(served(t, got).Status), `"`+string(state)+`"`)
	}
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"5"}}`), runbook.StateAwaitingReconnect)
	waits(a.put(`{"summary":{"status":"Online"}}`), runbook.StateAwaitingReconnect)
	waits(a.put(`{"config":null}`), runbook.StateAwaitingReconnect)
	waits(a.put(`{"config":{"renderedVersion":null}}`), runbook.StateAwaitingReconnect)
	require.Empty(t, b.signals.versions(), "that is no report; its poll is")
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"7"}}`), runbook.StateAwaitingReconnect)
	require.Equal(t, []string{"7"}, b.signals.versions())

	b.reconnect("r1", "web-1", "7")
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"6"}}`), runbook.StateConflictPaused)
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"7"}}`), runbook.StateConflictPaused)
	require.Equal(t, []string{"7"}, b.signals.versions())
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"8"}}`), runbook.StateConflictPaused)
	require.Equal(t, []string{"7", "8"}, b.signals.versions())
}

func TestAStatusThatReportsNoVersionIsRefusedOnTheTimeline(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	for _, version := range []string{`7`, `"007"`, `"+7"`, `{}`, `true`, `["7"]`, `"7\u0000"`, `1e3`} {
		before := len(b.signals.versions())
		requireStatus(t, a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":`+version+`}}`), http.StatusBadRequest, "is not a version")
		sent := b.signals.versions()
		require.Len(t, sent, before+1, version)
		_, err := runbook.ParseVersion(sent[before])
		require.Error(t, err, "%q would be taken for a version", sent[before])
	}
	require.NotContains(t, *b.text(`select status::text from devices`), "Online", "and nothing of it is stored")
}

func (b *bench) text(query string) *string {
	b.t.Helper()
	var s *string
	require.NoError(b.t, b.store.DB().Get(&s, query))
	return s
}

func TestBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	const path = "/api/v1/devices/web-1/status"
	for body, says := range map[string]string{
		``: "not a JSON object", `nope`: "not a JSON object", `null`: "null", `[]`: "not a JSON object", `{} {}`: "not a JSON object",
		`{"status":{}}x`:               "not a JSON object",
		`{}`:                           "no status",
		`{"Status":{}}`:                "no status",
		`{"status":null}`:              "status is not",
		`{"status":"Online"}`:          "status is not",
		`{"status":{"config":7}}`:      "status.config is not",
		`{"kind":"Fleet","status":{}}`: "kind Device",
		`{"kind":7,"status":{}}`:       "kind Device",
		`{"metadata":{"name":"web-2"},"status":{}}`:       "metadata.name",
		`{"metadata":[],"status":{}}`:                     "metadata is not",
		`{"status":{"a":"\u0000"}}`:                       "cannot be stored",
		"{\"status\":{\"a\":\"\xff\"}}":                   "cannot be stored",
		`{"status":` + deep(20_000) + `}`:                 "not a JSON object",
		`{"status":{"summary":` + strings.Repeat("9", 99): "not a JSON object",
	} {
		requireStatus(t, a.do(http.MethodPut, path, body), http.StatusBadRequest, says)
	}
	require.Equal(t, http.StatusOK, a.do(http.MethodPut, path, `{"status":{}}`).code)
	requireStatus(t, a.do(http.MethodGet, a.rendered(""), "a body"), http.StatusBadRequest, "no body")
}

func deep(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }

func TestABodyThatIsTooLargeOrTooSlow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	const path = "/api/v1/devices/web-1/status"
	large := strings.Repeat("x", 10<<20)
	requireStatus(t, a.do(http.MethodPut, path, large), http.StatusRequestEntityTooLarge, "1048576")
	got, err := a.try(http.MethodPut, path, io.MultiReader(strings.NewReader(large))) // of no length that is known beforehand
	require.NoError(t, err)
	requireStatus(t, got, http.StatusRequestEntityTooLarge, "1048576")

	b = newBench(t, func(c *agentapi.Config) { c.BodyTimeout = 100 * time.Millisecond })
	a = b.agent("web-1")
	slow, write := io.Pipe()
	defer write.Close()
	go func() { _, _ = write.Write([]byte(`{"status":`)) }()
	got, err = a.try(http.MethodPut, path, slow)
	require.NoError(t, err)
	requireStatus(t, got, http.StatusRequestTimeout, "did not come")
}
