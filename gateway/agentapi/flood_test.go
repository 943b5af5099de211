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

	"rollcall/gateway/agentapi"
	"rollcall/runbook"
)

// A fleet that comes back at once is let in little by little, and each report waits for its turn.
func TestAFloodOfReportsIsSmoothed(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.ReportsAtOnce = 2 })
	b.give(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5"})
	b.roll("r1")
	b.agent("web-1").polling("5")
	b.agent("web-2").polling("5")
	require.Eventually(t, func() bool { return len(b.signals.versions()) == 2 }, waitLimit, 10*time.Millisecond)
	third := b.agent("web-3").polling("4")
	require.Eventually(t, func() bool {
		return strings.Contains(b.ops("/metrics").body, "rollcall_gateway_reports_under_way 2\n")
	}, waitLimit, 10*time.Millisecond)
	b.reconnect("r1", "web-2", "5")
	require.Eventually(t, func() bool { return len(b.signals.versions()) == 3 }, waitLimit, 10*time.Millisecond)
	require.Equal(t, []string{"5", "5", "4"}, b.signals.versions())
	require.Empty(t, third, "it is held, and was not turned away")
}

func (b *bench) noted(name string) (version string) {
	b.t.Helper()
	require.NoError(b.t, b.store.DB().Get(&version,
		`select coalesce(noted_version, '') from rollcall.roll where name = $1 and not superseded`, name))
	return version
}

// Agents are back long before the roll call has come to their devices: what they report is on the roll when their poll
// is held, and Temporal does not hear of it.
func TestAReportThatComesBeforeItsTurnIsNoted(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	b.give(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5", "odd": "5"})
	b.uncalled("r1")
	polls := []<-chan answer{b.agent("web-1").polling("5"), b.agent("web-2").polling("7"), b.agent("web-3").polling("")}
	b.held(3)
	require.Equal(t, "5", b.noted("web-1"))
	require.Equal(t, "7", b.noted("web-2"))
	require.Equal(t, "0", b.noted("web-3"))
	odd := b.agent("odd")
	requireStatus(t, odd.poll("007"), http.StatusBadRequest, "leading zero")
	require.Equal(t, "007", b.noted("odd"), "the refusal is to be on the timeline")
	require.Equal(t, http.StatusOK, odd.put(`{"config":{"renderedVersion":"8"}}`).code,
		"its agent puts it when it has changed, and not again")
	require.Equal(t, "8", b.noted("odd"))
	require.Empty(t, b.signals.versions())
	require.Contains(t, b.ops("/metrics").body, `rollcall_gateway_reports_total{result="noted"} 5`)
	for _, poll := range polls {
		require.Empty(t, poll, "it is held")
	}

	// What is on the roll survives the gateway: the workflow that starts for the device begins with it.
	b.stop()
	found := map[string]string{}
	for _, entry := range b.claim("r1", 0, 10) {
		found[entry.Name] = entry.Noted
	}
	require.Equal(t, map[string]string{"web-1": "5", "web-2": "7", "web-3": "0", "odd": "8"}, found)
}

// A report is noted once, however often its agent polls, and a newer one replaces it.
func TestAReportIsNotedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.uncalled("r1")
	a := b.agent("web-1")
	written := func() (xmin string) {
		require.NoError(t, b.store.DB().Get(&xmin, `select cast(xmin as text) from rollcall.roll`))
		return xmin
	}
	require.Equal(t, http.StatusNoContent, a.poll("5").code)
	first := written()
	for range 3 {
		require.Equal(t, http.StatusNoContent, a.poll("5").code)
	}
	require.Equal(t, first, written())
	require.Equal(t, http.StatusNoContent, a.poll("6").code)
	require.Equal(t, "6", b.noted("web-1"))
}

// late is a Temporal whose workflows are not there before it is told.
type late struct {
	tried atomic.Int64
	there atomic.Bool
}

func (l *late) SignalWorkflow(context.Context, string, string, string, any) error {
	l.tried.Add(1)
	if !l.there.Load() {
		return serviceerror.NewNotFound("no such workflow")
	}
	return nil
}

func (l *late) CancelWorkflow(context.Context, string, string) error { return nil }

// A device whose workflow has been asked for and is not there yet is told again beside its poll.
func TestAWorkflowThatIsNotThereYetIsToldAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	temporal := &late{}
	b.signals.to = temporal
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	poll := a.polling("5")
	require.Eventually(t, func() bool { return temporal.tried.Load() >= 2 }, waitLimit, 10*time.Millisecond)
	require.Equal(t, "5", b.noted("web-1"), "it is not lost with the gateway")
	require.Equal(t, http.StatusOK, a.put(`{"config":{"renderedVersion":"5"}}`).code)
	temporal.there.Store(true)
	require.Eventually(t, func() bool {
		return strings.Contains(b.ops("/metrics").body, `rollcall_gateway_reports_total{result="sent"} 1`)
	}, waitLimit, 10*time.Millisecond)
	require.Empty(t, poll)
}

// What a device said to a roll call before is no answer to the next one.
func TestAReportIsNotToldToANewerRestore(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.WatchEvery = time.Hour })
	temporal := &late{}
	b.signals.to = temporal
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	b.agent("web-1").polling("5")
	require.Eventually(t, func() bool { return temporal.tried.Load() >= 2 }, waitLimit, 10*time.Millisecond)
	b.uncalled("r2")
	tried := temporal.tried.Load()
	temporal.there.Store(true)
	require.Never(t, func() bool { return temporal.tried.Load() > tried+1 }, 2*time.Second, 50*time.Millisecond)
	require.Empty(t, b.noted("web-1"))
}

// Past as many polls as it may hold a gateway answers 503, and lets others in when some have ended.
func TestSoManyPollsAreHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.MaxHeldPolls = 2 })
	b.give(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5"})
	b.roll("r1")
	first := b.agent("web-1").polling("5")
	b.agent("web-2").polling("5")
	b.held(2)
	third := b.agent("web-3")
	requireStatus(t, third.poll("5"), http.StatusServiceUnavailable, "holds 2 polls")
	require.Equal(t, http.StatusOK, third.put(`{"config":{"renderedVersion":"5"}}`).code, "a status is no poll")
	b.reconnect("r1", "web-1", "5")
	served(t, <-first)
	third.polling("5")
	b.held(2)
}

// The whole of it, with workflows: devices that are there are answered by what they said before the roll call came to
// them.
func TestARollCallOfDevicesThatAreThere(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	c := b.work()
	devices := map[string]string{}
	for i := range 40 {
		devices[fmt.Sprintf("d-%02d", i)] = "5"
	}
	b.give(devices)
	there := []string{"d-07", "d-23", "d-39"}
	for _, name := range there {
		a := b.agent(name)
		require.Equal(t, "6", version(served(t, a.poll("5"))))
		a.asking("6")
	}
	b.held(len(there))
	b.restore(c, "night")
	for _, name := range there {
		b.until(name, runbook.StateNormal)
	}
	ahead := b.agent("d-11")
	ahead.polling("9")
	b.until("d-11", runbook.StateConflictPaused)
}
