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
		status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1,
		updated_at = now() where name = $1`
	fcPaused = `update devices set annotations = annotations - 'device-controller/awaitingReconnect' ||
		'{"device-controller/conflictPaused": "true"}',
		status = jsonb_set(status, '{summary,status}', '"ConflictPaused"'), resource_version = resource_version + 1,
		updated_at = now() where name = $1`
	fcResumed = `update devices set annotations = annotations - 'device-controller/conflictPaused',
		status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1,
		updated_at = now() where name = $1`
	fcRendered = `update devices set annotations = annotations || jsonb_build_object('device-controller/renderedVersion',
		cast($2 as text)),
		resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcEdited = `update devices set labels = '{"site": "oslo"}', resource_version = resource_version + 1,
		updated_at = now() where name = $1`
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
	seen, err := store.PendingSignals(t.Context(),
		inventory.PendingSignalsInput{RestoreID: "r1", Since: since, Claimed: true})
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
				"a-quiet", "b-polled", "c-noted", "d-unreadable", "e-none", "g-released", "h-paused", "i-deleted", "j-removed",
				"k-decommissioned",
				"l-reported-in-its-row", "m-paused", "n-normal",
			}
			var fleet []device
			for _, name := range names {
				fleet = append(fleet, reporting(name, "5"))
			}
			store := restored(t, open(t), fleet...)
			require.Empty(t, sighted(t, store, time.Time{}), "after T1 no one has been seen")
			send(t, store, reconnectOf("n-normal", "5"))
			send(t, store, reconnectOf("m-paused", "7"))

			play(t, store, fcPolled, "b-polled")
			note(t, store, "c-noted", "7")
			note(t, store, "d-unreadable", "v7")
			note(t, store, "e-none", "")
			play(t, store, fcReleased, "g-released")
			play(t, store, fcPaused, "h-paused")
			play(t, store, fcDeleted, "i-deleted")
			play(t, store, fcRemoved, "j-removed")
			play(t, store, fcDecommissioned, "k-decommissioned")
			play(t, store, fcReported, "l-reported-in-its-row", "5")
			play(t, store, fcReported, "m-paused", "8")
			play(t, store, fcReported, "n-normal", "9")
			require.Equal(t, []string{
				"c-noted reconnect 7", "d-unreadable reconnect v7", "e-none reconnect 0",
				"i-deleted look ", "j-removed look ", "k-decommissioned look ",
			}, sighted(t, store, time.Time{}))
		})
	}
}

// A device may note ever other versions that cannot be read. The watch tells one of them now and then, as the gateway
// does, and the newest one in the end; one that can be read it tells at once.
func TestUnreadableNotesAreToldNowAndThen(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("a", "5"), versioned("b", "5"))
	for i, version := range []string{"x1", "x2", "x3", "99999999999999999999"} {
		note(t, store, "a", version)
		told := []string{}
		if i == 0 {
			told = []string{"a reconnect x1"}
		}
		require.Equal(t, told, sighted(t, store, time.Time{}), version)
		if i == 0 {
			require.Equal(t, runbook.CodeInvalidVersion, code(send(t, store, reconnectOf("a", version))))
		}
	}
	note(t, store, "b", "y1")
	require.Equal(t, []string{"b reconnect y1"}, sighted(t, store, time.Time{}), "another device")
	ago := func(seconds int) {
		store.DB().MustExec(`alter table rollcall.transitions disable trigger user`)
		store.DB().MustExec(`update rollcall.transitions set at = now() - make_interval(secs => $1) where name = 'a'`, seconds)
		store.DB().MustExec(`alter table rollcall.transitions enable trigger user`)
	}
	ago(25)
	require.Equal(t, []string{"b reconnect y1"}, sighted(t, store, time.Time{}))
	ago(31)
	require.Equal(t, []string{"a reconnect 99999999999999999999", "b reconnect y1"}, sighted(t, store, time.Time{}))
	ago(0)
	note(t, store, "a", "5")
	require.Equal(t, []string{"a reconnect 5", "b reconnect y1"}, sighted(t, store, time.Time{}), "it moves the device")
}

// A status says what a device runs, and its agent may have received more. It counts where no poll has said so.
func TestAStatusCountsWhereNoPollFollows(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("a", "5"), versioned("b", "5"))
	for _, name := range []string{"a", "b"} {
		require.NoError(t, store.NoteStatus(t.Context(), runbook.DefaultOrgID,
			inventory.NoteReportInput{RestoreID: "r1", Name: name, Version: "5"}, false))
	}
	store.DB().MustExec(`update rollcall.roll set batch = 0, wave = 0`)
	ago := func(interval string) {
		store.DB().MustExec(`update rollcall.roll set status_at = now() - cast($1 as interval)`, interval)
	}
	ago("9 minutes")
	require.Empty(t, sighted(t, store, time.Time{}))
	note(t, store, "a", "7")
	ago("11 minutes")
	require.Equal(t, []string{"a reconnect 7", "b reconnect 5"}, sighted(t, store, time.Time{}))
	store.DB().MustExec(`update rollcall.roll set batch = null, wave = null`)
	require.NotContains(t, sighted(t, store, time.Time{}), "b reconnect 5", "its workflow has yet to be started")

	store.DB().MustExec(`update rollcall.roll set batch = 0, wave = 0`)
	require.Contains(t, sighted(t, store, time.Time{}), "b reconnect 5")
	again := inventory.NoteReportInput{RestoreID: "r1", Name: "b", Version: "5"}
	require.NoError(t, store.NoteStatus(t.Context(), runbook.DefaultOrgID, again, false))
	require.NotContains(t, sighted(t, store, time.Time{}), "b reconnect 5", "it has just said so once more")
	ago("11 minutes")
	require.NoError(t, store.NoteStatus(t.Context(), runbook.DefaultOrgID, again, true))
	require.NotContains(t, sighted(t, store, time.Time{}), "b reconnect 5", "it is about to run another one")
	require.NoError(t, store.NoteStatus(t.Context(), runbook.DefaultOrgID, again, false))
	ago("11 minutes")
	require.NoError(t, store.BeginWaves(t.Context(), "r1", 1))
	require.NotContains(t, sighted(t, store, time.Time{}), "b reconnect 5", "the restore was taken up again since")
}

// reporting is a device whose status in the backup says which version it runs.
func reporting(name, version string) device {
	d := versioned(name, version)
	d.ResourceVersion = ptr(int64(3))
	d.Status = ptr(`{"summary": {"status": "Online"}, "config": {"renderedVersion": "` + version + `"}}`)
	return d
}

func TestSightingsEndWhenTheyAreDealtWith(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("d", "5"))
	play(t, store, fcReported, "d", "8")
	play(t, store, fcPaused, "d")
	require.Equal(t, runbook.T3, look(t, store, "d").Transition)
	play(t, store, fcResumed, "d")
	require.Equal(t, []string{"d look 8"}, sighted(t, store, time.Time{}))
	require.Equal(t, runbook.T4, look(t, store, "d").Transition)
	require.Empty(t, sighted(t, store, time.Time{}))
	play(t, store, fcDeleted, "d")
	require.Empty(t, sighted(t, store, time.Time{}), "it has left the roll call")
}

func TestSightingsReadOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("early", "5"), reporting("late", "5"), reporting("noted", "5"),
		reporting("removed", "5"))
	play(t, store, fcDecommissioned, "early")
	note(t, store, "noted", "7")
	first, err := store.PendingSignals(t.Context(), inventory.PendingSignalsInput{RestoreID: "r1", Claimed: true})
	require.NoError(t, err)
	require.True(t, first.Running)
	require.Len(t, first.Devices, 2)
	require.Equal(t, []string{"noted reconnect 7"}, sighted(t, store, first.At), "a note has no time")
	play(t, store, fcDecommissioned, "late")
	play(t, store, fcRemoved, "removed")
	require.Equal(t, []string{"late look ", "noted reconnect 7", "removed look "}, sighted(t, store, first.At),
		"what is not there has no time")
	require.Equal(t, []string{"early look ", "late look ", "noted reconnect 7", "removed look "},
		sighted(t, store, first.At.Add(-time.Minute)))
}

func TestNobodyIsSeenForARestoreThatIsOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *inventory.Store){
		"superseded": func(t *testing.T, store *inventory.Store) { openRestore(t, store, "r2") },
		"cancelled": func(t *testing.T, store *inventory.Store) {
			_, err := store.CloseRestore(t.Context(),
				inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), reporting("d", "5"))
			note(t, store, "d", "7")
			end(t, store)
			seen, err := store.PendingSignals(t.Context(), inventory.PendingSignalsInput{RestoreID: "r1"})
			require.NoError(t, err)
			require.False(t, seen.Running)
			require.Empty(t, seen.Devices)
		})
	}
	t.Run("a newer restore has the device", func(t *testing.T) {
		t.Parallel()
		store := restored(t, newStore(t), reporting("d", "5"))
		note(t, store, "d", "7")
		store.DB().MustExec(`update rollcall.roll set superseded = true`)
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
				note(t, store, name, "7")
			}
			store.DB().MustExec(`update rollcall.roll set seq = case name when 'd' then 0 else 100 + ascii(name) end`)
			store.DB().MustExec(`update rollcall.roll set since = since + interval '1 hour' where name = 'c'`)
			seen, err := store.PendingSignals(t.Context(), inventory.PendingSignalsInput{RestoreID: "r1", Claimed: true})
			require.NoError(t, err)
			var order []string
			for _, s := range seen.Devices {
				order = append(order, s.Name)
			}
			require.Equal(t, []string{"c", "d", "a", "b", "e"}, order)
		})
	}
}
