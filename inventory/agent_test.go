package inventory_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

func agentDevice(t *testing.T, store *inventory.Store, name string) inventory.AgentDevice {
	t.Helper()
	d, found, err := store.AgentDevice(t.Context(), runbook.DefaultOrgID, name, runbook.Certificate{})
	require.NoError(t, err)
	require.True(t, found)
	return d
}

func TestAgentDeviceIsWhereItStands(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restored(t, open(t), versioned("web-1", "5"), versioned("web-2", "5"))
			d := agentDevice(t, store, "web-1")
			require.Equal(t, runbook.StateAwaitingReconnect, d.State)
			require.Equal(t, "r1", d.RestoreID)
			require.Equal(t, "5", d.Restored)
			require.Empty(t, d.Noted)
			_, found, err := store.PutStatus(t.Context(), runbook.DefaultOrgID, "web-1", []byte(`{}`), nil)
			require.NoError(t, err)
			require.True(t, found)
			require.Empty(t, agentDevice(t, store, "web-1").Noted, "only the gateway knows what is a report")

			_, err = store.Reconnect(t.Context(), reconnectOf("web-1", "7"))
			require.NoError(t, err)
			d = agentDevice(t, store, "web-1")
			require.Equal(t, runbook.StateConflictPaused, d.State)
			require.Equal(t, "7", d.Reported)
			require.Equal(t, "7", d.Current)

			_, err = store.Resume(t.Context(), resumeOf("web-1", "alice"))
			require.NoError(t, err)
			d = agentDevice(t, store, "web-1")
			require.Equal(t, runbook.StateNormal, d.State)
			require.Empty(t, d.RestoreID, "it is not waited for any more")

			// Another hand took the annotation away: the roll still waits.
			store.DB().MustExec(`update devices set annotations = '{}' where name = 'web-2'`)
			require.Equal(t, runbook.StateAwaitingReconnect, agentDevice(t, store, "web-2").State)

			// A cancelled restore waits for no one, and the device still waits.
			store.DB().MustExec(`update devices set annotations = '{"device-controller/awaitingReconnect": "true"}'
				where name = 'web-2'`)
			_, err = store.CloseRestore(t.Context(),
				inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
			require.NoError(t, err)
			d = agentDevice(t, store, "web-2")
			require.Equal(t, runbook.StateAwaitingReconnect, d.State)
			require.Empty(t, d.RestoreID)
		})
	}
}

// One look reads many devices, as each would be read by itself, and by index.
func TestAgentDevicesAreReadTogether(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restored(t, open(t), versioned("web-1", "5"), versioned("web-2", "5"), versioned("gone", "5"))
			_, err := store.Reconnect(t.Context(), reconnectOf("web-1", "7"))
			require.NoError(t, err)
			store.DB().MustExec(`update devices set deleted_at = now() where name = 'gone'`)
			got, err := store.AgentDevices(t.Context(), runbook.DefaultOrgID,
				[]string{"web-2", "gone", "web-1", "never-was", "'; --", "web-2"})
			require.NoError(t, err)
			require.Equal(t,
				map[string]inventory.AgentDevice{"web-1": agentDevice(t, store, "web-1"), "web-2": agentDevice(t, store, "web-2")},
				got)
			got, err = store.AgentDevices(t.Context(), "00000000-0000-0000-0000-000000000001", []string{"web-1"})
			require.NoError(t, err)
			require.Empty(t, got)
		})
	}
}

func TestAgentDeviceIsAbsentOnlyWhereTheDatabaseSaysSo(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("gone", "5").create(t, store)
	store.DB().MustExec(`update devices set deleted_at = now()`)
	for _, name := range []string{"gone", "never-was", "'; drop table devices; --"} {
		_, found, err := store.AgentDevice(t.Context(), runbook.DefaultOrgID, name, runbook.Certificate{})
		require.NoError(t, err)
		require.False(t, found)
		_, found, err = store.PutStatus(t.Context(), runbook.DefaultOrgID, name, json.RawMessage(`{}`), nil)
		require.NoError(t, err)
		require.False(t, found)
	}
	empty := openStore(t, devtest.EmptyDatabase(t))
	_, _, err := empty.AgentDevice(t.Context(), runbook.DefaultOrgID, "never-was", runbook.Certificate{})
	require.Error(t, err, "a schema that is missing says nothing about a device")
}

func TestPutStatusKeepsWhatIsTheServices(t *testing.T) {
	t.Parallel()
	const agents = `{"summary": {"status": "Degraded", "info": "hot"}, "updated": {"status": "UpToDate"}, "lifecycle": {"status": "Decommissioned"},
		"config": {"renderedVersion": "9", "more": 1.50}, "lastSeen": "2001-01-01T00:00:00Z", "applications": [], "big": 123456789012345678901234567890}`
	const rest = `"lifecycle": {"status": "Enrolled"}, "applications": [], "big": 123456789012345678901234567890`
	nine := "9"
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restored(t, open(t), full())
			put := func() {
				t.Helper()
				device, found, err := store.PutStatus(t.Context(), runbook.DefaultOrgID, "web-1", json.RawMessage(agents), &nine)
				require.NoError(t, err)
				require.True(t, found)
				require.Contains(t, string(device.Status), "lastSeen")
				require.NotContains(t, string(device.Status), "2001-01-01")
			}
			status := func(want string) {
				t.Helper()
				requireSameJSON(t, store, want, *readDevice(t, store, runbook.DefaultOrgID, "web-1").Status)
			}
			put()
			status(`{"summary": {"status": "AwaitingReconnect", "info": "Device has not reconnected since restore to confirm its current state.", "more": [1, 2]}, "updated": {"status": "Unknown"}, "config": {"renderedVersion": "9", "more": 1.50}, ` + rest + `}`)
			require.Equal(t, 1,
				count(t, store, `select count(*) from device_timestamps where last_seen > now() - interval '1 minute'`))

			_, err := store.Reconnect(t.Context(), reconnectOf("web-1", "7"))
			require.NoError(t, err)
			put()
			status(`{"summary": {"status": "ConflictPaused", "info": "` + pausedInfo("7") + `", "more": [1, 2]},
				"updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "7", "more": 1.50}, ` + rest + `}`)

			_, err = store.Resume(t.Context(), resumeOf("web-1", "alice"))
			require.NoError(t, err)
			put()
			status(`{"summary": {"status": "Degraded", "info": "hot"}, "updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "9", "more": 1.50}, ` + rest + `}`)
			before := readDevice(t, store, runbook.DefaultOrgID, "web-1")
			require.NotContains(t, *before.Annotations, "Paused")
			require.Equal(t, "Fleet/web", *before.Owner)
		})
	}
}

func TestPutStatusSaysWhetherTheDeviceIsUpToDate(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("web-1", "5").create(t, store)
	for _, tc := range []struct{ version, updated string }{{"5", "UpToDate"}, {"4", "OutOfDate"}, {"", "OutOfDate"}} {
		_, found, err := store.PutStatus(t.Context(), runbook.DefaultOrgID, "web-1",
			json.RawMessage(`{"config": {"renderedVersion": "`+tc.version+`"}}`), &tc.version)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, tc.updated, *readString(t, store, `select status #>> '{updated,status}' from devices`))
		require.Equal(t, "Online", *readString(t, store, `select status #>> '{summary,status}' from devices`),
			"a status without a summary says nothing of it")
	}
	// A state of the roll call is not the agent's to claim.
	_, _, err := store.PutStatus(t.Context(), runbook.DefaultOrgID, "web-1",
		json.RawMessage(`{"summary": {"status": "ConflictPaused"}}`), nil)
	require.NoError(t, err)
	require.Equal(t, "Online", *readString(t, store, `select status #>> '{summary,status}' from devices`))
	require.Equal(t, "OutOfDate", *readString(t, store, `select status #>> '{updated,status}' from devices`),
		"it did not say what it runs")
}

// An agent says Unknown of what the service says, and in its conditions that it updates, and that it has left.
func TestPutStatusTakesTheConditionsAsFlightControlDoes(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("web-1", "5").create(t, store)
	put := func(status string) (d struct {
		Summary, Updated, Integrity, ApplicationsSummary, Lifecycle struct{ Status string }
	},
	) {
		t.Helper()
		device, _, err := store.PutStatus(t.Context(), runbook.DefaultOrgID, "web-1", json.RawMessage(status), ptr("5"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(device.Status, &d))
		return d
	}
	store.DB().MustExec(`update devices set status = '{"summary": {"status": "Online"}, "lifecycle": {"status": "Enrolled"},
		"integrity": {"status": "Verified"}, "applicationsSummary": {"status": "Healthy"}}'`)
	const unknown = `"summary": {"status": "Unknown"}, "integrity": {"status": "Unknown"},
		"applicationsSummary": {"status": "Unknown"}`
	d := put(`{` + unknown + `, "conditions": [{"type": "Updating", "status": "True", "reason": "Preparing"}]}`)
	require.Equal(t, []string{"Online", "Updating", "Verified", "Healthy", "Enrolled"},
		[]string{d.Summary.Status, d.Updated.Status, d.Integrity.Status, d.ApplicationsSummary.Status, d.Lifecycle.Status})
	d = put(`{"applicationsSummary": {"status": "Degraded"}, "conditions": [{"type": "Updating", "status": "False"},
		{"type": "DeviceDecommissioning", "status": "True", "reason": "Completed"}]}`)
	require.Equal(t, []string{"UpToDate", "Degraded", "Enrolled"},
		[]string{d.Updated.Status, d.ApplicationsSummary.Status, d.Lifecycle.Status}, "no one has told it to leave")
	store.DB().MustExec(`update devices set status = jsonb_set(status, '{lifecycle,status}', '"Decommissioning"')`)
	require.Equal(t, "Decommissioning", put(`{"conditions": [{"type": "DeviceDecommissioning", "status": "True",
		"reason": "Started"}]}`).Lifecycle.Status)
	for _, reason := range []string{"Completed", "Error"} {
		store.DB().MustExec(`update devices set status = jsonb_set(status, '{lifecycle,status}', '"Decommissioning"')`)
		require.Equal(t, "Decommissioned", put(`{"conditions": [{"type": "DeviceDecommissioning", "status": "True",
			"reason": "`+reason+`"}]}`).Lifecycle.Status)
	}
}

func TestPutStatusRefusesWhatPostgreSQLCannotHold(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("web-1", "5").create(t, store)
	for _, status := range []string{`{"a": "\u0000"}`, `{"a": "\ud800"}`, `{"a": 1e999999}`} {
		_, _, err := store.PutStatus(t.Context(), runbook.DefaultOrgID, "web-1", json.RawMessage(status), nil)
		require.Equal(t, runbook.CodeInvalidRequest, refusal(t, err), status)
	}
}

// The poll that answers the roll call comes before the transition that it leads to.
func TestThePollThatAnswersTheRollCallIsASighting(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("back", "5"), versioned("paused", "5"))
	store.DB().MustExec(`update rollcall.restores set started_at = now() - interval '1 minute'`)
	send(t, store, reconnectOf("back", "5"))
	send(t, store, reconnectOf("paused", "7"))
	for ago, want := range map[time.Duration]int{time.Hour: 0, 10 * time.Second: 2} {
		store.DB().MustExec(`update device_timestamps set last_seen = null`)
		require.NoError(t, store.MarkSeen(t.Context(), runbook.DefaultOrgID,
			map[string]time.Duration{"back": ago, "paused": ago}))
		require.Equal(t, want, count(t, store, `select count(*) from device_timestamps where last_seen is not null`), ago)
	}
}

func TestAPollFromBeforeT1IsNoSighting(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("web-1", "5"))
	seen := func() (n int) {
		require.NoError(t, store.DB().Get(&n, `select count(*) from device_timestamps where last_seen is not null`))
		return n
	}
	require.NoError(t,
		store.MarkSeen(t.Context(), runbook.DefaultOrgID, map[string]time.Duration{"web-1": time.Hour, "nosuch": 0}))
	require.Zero(t, seen())
	require.NoError(t, store.MarkSeen(t.Context(), runbook.DefaultOrgID, map[string]time.Duration{"web-1": 0}))
	require.Equal(t, 1, seen())
}
