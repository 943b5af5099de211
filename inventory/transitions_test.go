package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// full has everything that a transition must not touch beside all that it must.
func full() device {
	return device{
		Name: "web-1", Owner: ptr("Fleet/web"), ResourceVersion: ptr(int64(41)),
		Annotations: ptr(`{"device-controller/renderedVersion": "5", "device-controller/renderedSpecHash": "abc", "device-controller/conflictPaused": "true", "example.com/kept": "yes"}`),
		Status: ptr(`{"summary": {"status": "Online", "info": "old", "more": [1, 2]}, "updated": {"status": "UpToDate", "info": "kept"},
			"config": {"renderedVersion": "5", "hash": "h"}, "lifecycle": {"status": "Enrolled"}, "big": 123456789012345678901234567890, "null": null, "": {"": 0.10}}`),
	}
}

// The rest of the status of full, in every state.
const rest = `"lifecycle": {"status": "Enrolled"}, "big": 123456789012345678901234567890, "null": null, "": {"": 0.10}`

// pausedInfo is Flight Control's text on a device that was restored at version 5.
func pausedInfo(reported string) string {
	return "Device reconciliation is paused due to a state conflict between the service and the device's agent; manual " +
		"intervention is required." +
		" (device reported version " + reported + " > device version known to service 5)"
}

func requireDevice(t *testing.T, store *inventory.Store, name string, version int64, annotations, status string) {
	t.Helper()
	d := readDevice(t, store, runbook.DefaultOrgID, name)
	requireSameJSON(t, store, annotations, *d.Annotations)
	requireSameJSON(t, store, status, *d.Status)
	require.Equal(t, version, *d.ResourceVersion)
}

// requireSameJSON compares as PostgreSQL does, which loses no digit; require.JSONEq would go through float64.
func requireSameJSON(t require.TestingT, store *inventory.Store, want, got string) {
	var same bool
	require.NoError(t, store.DB().Get(&same, `select cast($1 as jsonb) = cast($2 as jsonb)`, want, got))
	if !same {
		require.Equal(t, want, got)
	}
}

func TestTransitionsWriteExactlyThis(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			before := full().create(t, store)
			store.DB().MustExec(`update device_timestamps set last_seen = '2026-01-02T03:04:05Z'`)

			openRestore(t, store, "r1")
			putAll(t, store, "r1")
			requireDevice(t, store, before.Name, 42,
				`{"device-controller/renderedVersion": "5", "device-controller/renderedSpecHash": "abc", "device-controller/awaitingReconnect": "true", "example.com/kept": "yes"}`,
				`{"summary": {"status": "AwaitingReconnect", "info": "Device has not reconnected since restore to confirm its current state.", "more": [1, 2]}, "updated": {"status": "Unknown"}, "config": {"renderedVersion": "5", "hash": "h"}, `+rest+`}`)
			require.Equal(t, 1, count(t, store, `select count(*) from device_timestamps where last_seen is null`))
			require.Equal(t, 1,
				count(t, store, `select count(*) from rollcall.roll where last_seen_before = '2026-01-02T03:04:05Z'`))

			_, err := store.Reconnect(t.Context(), reconnectOf(before.Name, "7"))
			require.NoError(t, err)
			requireDevice(t, store, before.Name, 43,
				`{"device-controller/renderedVersion": "5", "device-controller/renderedSpecHash": "abc", "device-controller/conflictPaused": "true", "example.com/kept": "yes"}`,
				`{"summary": {"status": "ConflictPaused", "info": "`+pausedInfo("7")+`", "more": [1, 2]},
					"updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "7", "hash": "h"}, `+rest+`}`)

			_, err = store.Reconnect(t.Context(), reconnectOf(before.Name, "8"))
			require.NoError(t, err)
			requireDevice(t, store, before.Name, 44,
				`{"device-controller/renderedVersion": "5", "device-controller/renderedSpecHash": "abc", "device-controller/conflictPaused": "true", "example.com/kept": "yes"}`,
				`{"summary": {"status": "ConflictPaused", "info": "`+pausedInfo("8")+`", "more": [1, 2]},
					"updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "8", "hash": "h"}, `+rest+`}`)

			_, err = store.Resume(t.Context(), resumeOf(before.Name, "bob"))
			require.NoError(t, err)
			requireDevice(t, store, before.Name, 45,
				`{"device-controller/renderedVersion": "5", "example.com/kept": "yes"}`,
				`{"summary": {"status": "Online", "more": [1, 2]}, "updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "8", "hash": "h"}, `+rest+`}`)
			require.Equal(t, 3, count(t, store, `select count(*) from events`)) // of T3, of T4 and of the restore
			require.Zero(t,
				count(t, store,
					`select count(*) from events where annotations is distinct from '{}' or details is distinct from 'null'`))
			events, err := store.Events(t.Context(), inventory.Query{})
			require.NoError(t, err)
			require.Nil(t, events[0].Details)
		})
	}
}

func TestAReconnectThatFitsWritesExactlyThis(t *testing.T) {
	t.Parallel()
	for reported, updated := range map[string]string{"5": "UpToDate", "4": "OutOfDate", "": "OutOfDate"} {
		t.Run("version "+reported, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), full())
			got, err := store.Reconnect(t.Context(), reconnectOf("web-1", reported))
			require.NoError(t, err)
			stored := reported
			if stored == "" {
				stored = "0"
			}
			require.Equal(t, inventory.Transitioned{
				Applied: true, Transition: runbook.T2, State: runbook.StateNormal, Restored: "5", Reported: stored,
				Updated: updated, At: got.At,
			}, got)
			requireDevice(t, store, "web-1", 43,
				`{"device-controller/renderedVersion": "5", "device-controller/renderedSpecHash": "abc", "example.com/kept": "yes"}`,
				`{"summary": {"status": "Online", "info": "Device is up to date", "more": [1, 2]}, "updated": {"status": "`+updated+
					`"}, "config": {"renderedVersion": "`+stored+`", "hash": "h"}, `+rest+`}`)
		})
	}
}

// Columns that are NULL, and documents of a type that they should not have, take part as empty ones.
func TestTransitionsOnOddDocuments(t *testing.T) {
	t.Parallel()
	odd := map[string]device{
		"null":   {},
		"json":   {Annotations: ptr(`null`), Status: ptr(`null`)},
		"array":  {Annotations: ptr(`["device-controller/awaitingReconnect"]`), Status: ptr(`[1]`)},
		"scalar": {Annotations: ptr(`"x"`), Status: ptr(`7`)},
		"summary": {
			Annotations: ptr(`{}`),
			Status:      ptr(`{"summary": "Online", "updated": [], "config": 3, "lifecycle": ["Decommissioned"]}`),
		},
	}
	store := newStore(t)
	for name, d := range odd {
		d.Name = name
		d.create(t, store)
	}
	restored(t, store)
	for name, d := range odd {
		d.Name = name // and once more, as an agent or another hand may spoil them while the device waits
		_, err := store.DB().NamedExec(`update devices set annotations = :annotations, status = :status where name = :name`,
			d)
		require.NoError(t, err)
		t3, err := store.Reconnect(t.Context(),
			inventory.ReconnectInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name, Reported: "1"})
		require.NoError(t, err, name)
		require.Equal(t, runbook.StateConflictPaused, t3.State, name)
		t4, err := store.Resume(t.Context(), resumeOf(name, "bob"))
		require.NoError(t, err, name)
		require.Equal(t, "2", t4.Next, name)
		lifecycle := ""
		if name == "summary" {
			lifecycle = `, "lifecycle": ["Decommissioned"]`
		}
		requireDevice(t, store, name, 3, `{}`,
			`{"summary": {"status": "Online"}, "updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "1"}`+lifecycle+
				`}`)
	}
}
