package inventory_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// What a live Flight Control does to a device, in the SQL of its API server.
const (
	// fcPolled is a poll: it only says that the device was seen.
	fcPolled = `update device_timestamps set last_seen = now() where name = $1`
	// fcReported is a new status, with the service's own summary kept over it.
	fcReported = `with seen as (update device_timestamps set last_seen = now() where name = $1)
		update devices set status = jsonb_set(status, '{config}', jsonb_build_object('renderedVersion', cast($2 as text))),
			resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcReleased = `update devices set annotations = annotations - 'device-controller/awaitingReconnect',
		status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcPaused = `update devices set annotations = annotations - 'device-controller/awaitingReconnect' || '{"device-controller/conflictPaused": "true"}',
		status = jsonb_set(status, '{summary,status}', '"ConflictPaused"'), resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcResumed = `update devices set annotations = annotations - 'device-controller/conflictPaused',
		status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcRendered = `update devices set annotations = annotations || jsonb_build_object('device-controller/renderedVersion', cast($2 as text)),
		resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcEdited         = `update devices set labels = '{"site": "oslo"}', resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcDeleted        = `update devices set deleted_at = now() where name = $1`
	fcRemoved        = `delete from devices where name = $1`
	fcDecommissioned = `update devices set status = jsonb_set(status, '{lifecycle}', '{"status": "Decommissioning"}'),
		resource_version = resource_version + 1, updated_at = now() where name = $1`
)

func play(t *testing.T, store *inventory.Store, statement string, args ...any) {
	t.Helper()
	_, err := store.DB().ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// sighted is who is seen in one look, as "name signal version", in the order of names.
func sighted(t *testing.T, store *inventory.Store, since time.Time) []string {
	t.Helper()
	seen, err := store.Sightings(t.Context(), inventory.SightingsInput{RestoreID: "r1", Since: since})
	require.NoError(t, err)
	lines := []string{}
	for _, d := range seen.Devices {
		require.Equal(t, runbook.DefaultOrgID, d.OrgID)
		lines = append(lines, d.Name+" "+d.Signal+" "+d.Version)
	}
	slices.Sort(lines)
	return lines
}

func TestSightings(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			names := []string{
				"a-quiet", "b-polled", "c-equal", "d-newer", "e-unreadable", "f-none", "g-released", "h-paused", "i-deleted", "j-removed", "k-decommissioned",
				"l-edited", "m-polled-and-edited-before-it-was-paused", "n-normal",
			}
			var fleet []device
			for _, name := range names {
				fleet = append(fleet, reporting(name, "5"))
			}
			store := restored(t, open(t), fleet...)
			require.Empty(t, sighted(t, store, time.Time{}), "after T1 nobody has been seen")
			send(t, store, reconnectOf("n-normal", "5"))
			send(t, store, reconnectOf("m-polled-and-edited-before-it-was-paused", "7"))

			play(t, store, fcPolled, "b-polled")
			play(t, store, fcReported, "c-equal", "5")
			play(t, store, fcReported, "d-newer", "7")
			play(t, store, fcReported, "e-unreadable", "v7")
			play(t, store, fcReported, "f-none", "")
			play(t, store, fcReleased, "g-released")
			play(t, store, fcPaused, "h-paused")
			play(t, store, fcDeleted, "i-deleted")
			play(t, store, fcRemoved, "j-removed")
			play(t, store, fcDecommissioned, "k-decommissioned")
			play(t, store, fcEdited, "l-edited")
			play(t, store, fcPolled, "m-polled-and-edited-before-it-was-paused")
			play(t, store, fcEdited, "m-polled-and-edited-before-it-was-paused")
			play(t, store, fcReported, "n-normal", "9")
			require.Equal(t, []string{
				"c-equal reconnect 5", "d-newer reconnect 7", "e-unreadable reconnect v7", "f-none reconnect ",
				"g-released look 5", "h-paused look 5", "i-deleted look 5", "j-removed look ", "k-decommissioned look 5",
			}, sighted(t, store, time.Time{}))
		})
	}
}

// reporting is a device whose status in the backup says which version it runs.
func reporting(name, version string) device {
	d := versioned(name, version)
	d.ResourceVersion = ptr(int64(3))
	d.Status = ptr(`{"summary": {"status": "Online"}, "config": {"renderedVersion": "` + version + `"}}`)
	return d
}

func TestAPollIsNoReport(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("ahead", "5"))
	play(t, store, fcPolled, "ahead")
	require.Empty(t, sighted(t, store, time.Time{}), "its status is still the backup's, which says 5; it may run 7")
	play(t, store, fcReported, "ahead", "7")
	require.Equal(t, []string{"ahead reconnect 7"}, sighted(t, store, time.Time{}))
}

func TestSightingsEndWhenTheyAreDealtWith(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("d", "5"))
	play(t, store, fcReported, "d", "007")
	require.Equal(t, []string{"d reconnect 007"}, sighted(t, store, time.Time{}))
	send(t, store, reconnectOf("d", "007"))
	require.Empty(t, sighted(t, store, time.Time{}), "a version that was refused is not reported again")
	play(t, store, fcReported, "d", "abc")
	require.Equal(t, []string{"d reconnect abc"}, sighted(t, store, time.Time{}), "another one is")
	play(t, store, fcReported, "d", "7")
	send(t, store, reconnectOf("d", "7"))
	require.Empty(t, sighted(t, store, time.Time{}))
	play(t, store, fcReported, "d", "7")
	require.Empty(t, sighted(t, store, time.Time{}), "a paused device that reports the same")
	play(t, store, fcReported, "d", "8")
	require.Equal(t, []string{"d reconnect 8"}, sighted(t, store, time.Time{}), "and another version, which a resume must render past")
	send(t, store, reconnectOf("d", "8"))
	require.Empty(t, sighted(t, store, time.Time{}))
	play(t, store, fcResumed, "d")
	require.Equal(t, []string{"d look 8"}, sighted(t, store, time.Time{}))
	require.Equal(t, runbook.T4, look(t, store, "d").Transition)
	require.Empty(t, sighted(t, store, time.Time{}))
	play(t, store, fcDeleted, "d")
	require.Empty(t, sighted(t, store, time.Time{}), "it has left the roll call")
}

func TestSightingsReadOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("early", "5"), reporting("late", "5"), reporting("removed", "5"))
	play(t, store, fcReported, "early", "7")
	first, err := store.Sightings(t.Context(), inventory.SightingsInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.True(t, first.Running)
	require.Len(t, first.Devices, 1)
	require.Empty(t, sighted(t, store, first.At))
	play(t, store, fcReported, "late", "5")
	play(t, store, fcRemoved, "removed")
	require.Equal(t, []string{"late reconnect 5", "removed look "}, sighted(t, store, first.At), "what is not there has no time")
	require.Equal(t, []string{"early reconnect 7", "late reconnect 5", "removed look "}, sighted(t, store, first.At.Add(-time.Minute)))
}

func TestNobodyIsSeenForARestoreThatIsOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *inventory.Store){
		"superseded": func(t *testing.T, store *inventory.Store) { openRestore(t, store, "r2") },
		"cancelled": func(t *testing.T, store *inventory.Store) {
			_, err := store.CloseRestore(t.Context(), inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), reporting("d", "5"))
			play(t, store, fcReported, "d", "7")
			end(t, store)
			seen, err := store.Sightings(t.Context(), inventory.SightingsInput{RestoreID: "r1"})
			require.NoError(t, err)
			require.False(t, seen.Running)
			require.Empty(t, seen.Devices)
		})
	}
	t.Run("a newer restore has the device", func(t *testing.T) {
		t.Parallel()
		store := restored(t, newStore(t), reporting("d", "5"))
		store.DB().MustExec(`update rollcall.roll set superseded = true`)
		play(t, store, fcReported, "d", "7")
		require.Empty(t, sighted(t, store, time.Time{}))
	})
}

// Who may be told comes first: those whose place has changed since the roll was made, and then the roll in its order.
func TestSightingsComeInTheOrderOfTheirWorkflows(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			names := []string{"a", "b", "c", "d", "e"}
			var fleet []device
			for _, name := range names {
				fleet = append(fleet, reporting(name, "5"))
			}
			store := restored(t, open(t), fleet...)
			for _, name := range names {
				play(t, store, fcReported, name, "7")
			}
			store.DB().MustExec(`update rollcall.roll set seq = case name when 'd' then 0 else 100 + ascii(name) end`)
			store.DB().MustExec(`update rollcall.roll set since = since + interval '1 hour' where name = 'c'`)
			store.DB().MustExec(`update devices set updated_at = updated_at + interval '2 hours'`)
			seen, err := store.Sightings(t.Context(), inventory.SightingsInput{RestoreID: "r1"})
			require.NoError(t, err)
			var order []string
			for _, s := range seen.Devices {
				order = append(order, s.Name)
			}
			require.Equal(t, []string{"c", "d", "a", "b", "e"}, order)
		})
	}
}
