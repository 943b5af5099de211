package inventory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Others write the row of a device that waits, and its status there is the backup's. None of that says what the device
// runs.
func TestAWrittenRowIsNoReport(t *testing.T) {
	t.Parallel()
	writes := []struct{ what, statement string }{
		{"labels", `update devices set labels = '{"site": "oslo"}', updated_at = now() where name = $1`},
		{"spec", `update devices set spec = '{"os": {"image": "registry.example.com/web:2"}}', generation = 2,
			updated_at = now() where name = $1`},
		{"status", `update devices set status = jsonb_set(status, '{config}', '{"renderedVersion": "5"}'), updated_at = now()
			where name = $1`},
		{"fleet annotations", `update devices set annotations = annotations || '{"fleet-controller/templateVersion": "tv-2"}',
			updated_at = now() where name = $1`},
		{"service conditions", `update devices set service_conditions =
			'[{"type": "DeviceDecommissioning", "status": "False"}]', updated_at = now() where name = $1`},
		{"last seen", `with seen as (update device_timestamps set last_seen = now() where name = $1) update devices
			set updated_at = now() where name = $1`},
	}
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restored(t, open(t), reporting("waits", "5"), reporting("paused", "5"))
			send(t, store, reconnectOf("paused", "7"))
			for _, write := range append(writes, writes...) { // also each after the device was seen
				for _, name := range []string{"waits", "paused"} {
					play(t, store, write.statement, name)
				}
				require.Empty(t, sighted(t, store, time.Time{}), write.what)
				require.Equal(t, runbook.StateAwaitingReconnect, agentDevice(t, store, "waits").State)
			}
		})
	}
}

func note(t *testing.T, store *inventory.Store, name, version string) bool {
	t.Helper()
	noted, err := store.NoteReports(t.Context(), runbook.DefaultOrgID,
		[]inventory.NoteReportInput{{RestoreID: "r1", Name: name, Version: version}})
	require.NoError(t, err)
	return len(noted) == 1
}

// A report that came before the workflow of its device is kept on the roll until the roll call has dealt with it.
func TestANotedReportIsSeenUntilItIsDealtWith(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("d", "5"))
	require.True(t, note(t, store, "d", "v7"))
	require.Equal(t, "v7", agentDevice(t, store, "d").Noted)
	require.Equal(t, []string{"d reconnect v7"}, sighted(t, store, time.Time{}))
	send(t, store, reconnectOf("d", "v7"))
	require.Empty(t, sighted(t, store, time.Time{}), "it was refused, which the audit has")
	require.True(t, note(t, store, "d", ""))
	require.Equal(t, []string{"d reconnect 0"}, sighted(t, store, time.Now().Add(time.Hour)),
		"no version is 0, however old the row is")
	require.True(t, note(t, store, "d", "7"))
	require.Equal(t, []string{"d reconnect 7"}, sighted(t, store, time.Time{}), "the newest one counts")
	send(t, store, reconnectOf("d", "7"))
	require.Empty(t, sighted(t, store, time.Time{}))
	send(t, store, reconnectOf("d", "8"))
	require.Empty(t, sighted(t, store, time.Time{}), "what was noted before is older than what it has reported since")
	require.False(t, note(t, store, "d", "9"), "its workflow is there")
	require.Equal(t, isPaused, stateOf(t, store, "d"))
}

func TestNothingIsNotedForAnotherRestore(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("d", "5"))
	require.False(t, note(t, store, "never-was", "7"))
	require.True(t, note(t, store, "d", "7"))
	openRestore(t, store, "r2")
	require.False(t, note(t, store, "d", "8"), "it is over")
	putAll(t, store, "r2")
	require.Empty(t, agentDevice(t, store, "d").Noted, "what it said before is no answer to the newer restore")
	seen, err := store.PendingSignals(t.Context(), inventory.PendingSignalsInput{RestoreID: "r2"})
	require.NoError(t, err)
	require.Empty(t, seen.Devices)
}
