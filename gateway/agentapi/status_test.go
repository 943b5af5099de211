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
	require.Contains(t, string(device.Status), `"lastSeen"`)
	require.NotContains(t, string(device.Status), `1.50`, "the agent has just sent it")
	require.Contains(t, *b.text(`select status::text from devices`), `1.50`)
	require.Empty(t, b.signals.versions(), "no one waits for it")
}

func TestAStatusWithAVersionIsAReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5", "web-2": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	waits := func(got answer, state runbook.State) {
		t.Helper()
		require.Contains(t, string(served(t, got).Status), `"`+string(state)+`"`)
	}
	waits(a.put(`{"summary":{"status":"Online"}}`), runbook.StateAwaitingReconnect)
	waits(a.put(`{"config":null}`), runbook.StateAwaitingReconnect)
	waits(a.put(`{"config":{"renderedVersion":null}}`), runbook.StateAwaitingReconnect)
	require.Empty(t, b.signals.versions(), "that says no version; its poll does")
	waits(b.agent("web-2").put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"5"}}`),
		runbook.StateAwaitingReconnect)
	require.Empty(t, b.signals.versions(), "its agent may have received more, which its poll says")
	require.Equal(t, "5",
		*b.text(`select status_version from rollcall.roll where name = 'web-2' and noted_version is null`))
	waits(b.agent("web-2").put(`{"config":{"renderedVersion":"5"},"conditions":[{"type":"Updating","status":"True"}]}`),
		runbook.StateAwaitingReconnect)
	require.Nil(t, b.text(`select status_version from rollcall.roll where name = 'web-2'`), "it is about to run another")
	require.Equal(t, http.StatusNoContent, b.agent("web-2").poll("7").code)
	require.Equal(t, []string{"7"}, b.signals.versions())
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"7"}}`), runbook.StateAwaitingReconnect)
	require.Equal(t, []string{"7", "7"}, b.signals.versions())

	b.reconnect("r1", "web-1", "7")
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"6"}}`), runbook.StateConflictPaused)
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"7"}}`), runbook.StateConflictPaused)
	require.Equal(t, []string{"7", "7"}, b.signals.versions())
	waits(a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":"8"}}`), runbook.StateConflictPaused)
	require.Equal(t, []string{"7", "7", "8"}, b.signals.versions())
}

func TestAStatusThatReportsNoVersionIsRefusedOnTheTimeline(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	for _, version := range []string{`7`, `"007"`, `"+7"`, `{}`, `true`, `["7"]`, `"7\u0000"`, `1e3`} {
		b.credit()
		before := len(b.signals.versions())
		requireStatus(t, a.put(`{"summary":{"status":"Online"},"config":{"renderedVersion":`+version+`}}`),
			http.StatusBadRequest, "is not a version")
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
		``: "not a JSON object", `nope`: "not a JSON object", `null`: "null", `[]`: "not a JSON object",
		`{} {}`:                        "not a JSON object",
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
		"{\"status\":{\"a\":\"\xff\"}}":                   "invalid UTF-8",
		`{"status":{"a":1,"a":2}}`:                        "stands there twice",
		`{"status":` + deep(20_000) + `}`:                 "more than 64 levels",
		`{"status":{"summary":` + strings.Repeat("9", 60): "not a JSON object",
	} {
		requireStatus(t, a.do(http.MethodPut, path, body), http.StatusBadRequest, says)
	}
	require.Equal(t, http.StatusOK, a.do(http.MethodPut, path, `{"status":{}}`).code)
	requireStatus(t, a.do(http.MethodGet, a.rendered(""), "a body"), http.StatusBadRequest, "no body")
}

// A device sent 9 KB, of which PostgreSQL made 131 MB. The answer was 503, and yet they were stored.
func TestANumberThatIsLargeInTheDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	before := b.text(`select status::text from devices`)
	bombs := func(number string, n int) string { return "[" + strings.Repeat(number+",", n) + number + "]" }
	const exponent, tooLong = "exponent is beyond 400", "bytes in the database"
	for bomb, says := range map[string]string{
		bombs("1e131071", 999): exponent, "1e-16383": exponent, "-1E+401": exponent,
		strings.Repeat("1", 65): "more than 64 digits",
		bombs("1e400", 12_000):  tooLong, `["\u0000",1e131071]`: exponent, `{"a":"\u0000","b":1e131071}`: exponent,
	} {
		requireStatus(t, a.put(`{"own":`+bomb+`}`), http.StatusBadRequest, says)
		requireStatus(t, a.patch(`[{"op":"add","path":"/status/own","value":`+bomb+`}]`), http.StatusBadRequest, says)
		code := a.do(http.MethodPost, "/api/v1/certificatesigningrequests", `{"spec":`+bomb+`}`).code
		require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, code)
	}
	require.Equal(t, before, b.text(`select status::text from devices`))
	require.Equal(t, http.StatusOK, a.put(`{"own":[1e400,`+strings.Repeat("1", 64)+`]}`).code)
	// Patches that each are small must not add up.
	require.Equal(t, http.StatusOK, a.patch(`[{"op":"add","path":"/status/more","value":`+bombs("1e400", 9_000)+`}]`).code)
	requireStatus(t, a.patch(`[{"op":"add","path":"/status/yet","value":`+bombs("1e400", 9_000)+`}]`),
		http.StatusRequestEntityTooLarge, "1048576")
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
	got, err := a.try(http.MethodPut, path,
		io.MultiReader(strings.NewReader(large))) // of no length that is known beforehand
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
