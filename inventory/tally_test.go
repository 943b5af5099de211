package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

func TestTheTallyAlwaysAddsUp(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("a", "5"), versioned("b", "5"), versioned("c", "5"), versioned("d", "5"),
		versioned("e", "5"))
	send(t, store, reconnectOf("b", "7"))
	send(t, store, reconnectOf("c", "5"))
	send(t, store, reconnectOf("d", "7"))
	send(t, store, resumeOf("d", "bob"))
	store.DB().MustExec(`delete from devices where name = 'e'`)
	send(t, store, withdrawOf("e", false))

	got, err := store.RestoreStatus(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreStatus{
		RestoreID: "r1", State: runbook.RestoreRunning, Mode: runbook.ModeStandalone, StartedAt: got.StartedAt, Total: 5,
		OpenedBy: "alice",
		Counts:   map[runbook.State]int64{isAwaiting: 1, isPaused: 1, isNormal: 2, isWithdrawn: 1},
	}, got)
	require.True(t, got.AddsUp())

	openRestore(t, store, "r2")
	require.EqualValues(t, 4, putAll(t, store, "r2"))
	frozen, err := store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreSuperseded, frozen.State)
	require.Equal(t, got.Counts, frozen.Counts, "the tally of a superseded restore stays as it was")
	entries, err := store.OpenEntries(t.Context(), "r1", runbook.Slice{To: 5})
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestWhichRestoreIsTheCurrentOne(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	_, err := store.RestoreStatus(t.Context(), "")
	require.Equal(t, runbook.CodeNotFound, refusal(t, err))
	_, err = store.RestoreStateOf(t.Context(), "r1")
	require.Equal(t, runbook.CodeNotFound, refusal(t, err))

	openRestore(t, store, "r1")
	openRestore(t, store, "r2")
	current := func() string {
		got, err := store.RestoreStatus(t.Context(), "")
		require.NoError(t, err)
		return got.RestoreID
	}
	require.Equal(t, "r2", current())
	cancelRestore(t, store, "r2")
	require.Equal(t, "r2", current(), "none runs: the newest")
	openRestore(t, store, "r3")
	cancelRestore(t, store, "r3")
	openRestore(t, store, "r2")
	require.Equal(t, "r2", current(), "one that runs comes before one that is newer")
	state, err := store.RestoreStateOf(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreSuperseded, state)

	for limit, want := range map[int][]string{0: {"r3", "r2", "r1"}, -1: {"r3", "r2", "r1"}, 2: {"r3", "r2"}} {
		all, err := store.Restores(t.Context(), limit)
		require.NoError(t, err)
		var ids []string
		for _, r := range all {
			ids = append(ids, r.RestoreID)
		}
		require.Equal(t, want, ids)
	}
}

func TestLongestWaitingComesFirst(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	seen := map[string]string{
		"a": "2026-01-03T00:00:00Z", "b": "2026-01-01T00:00:00Z", "d": "2025-01-01T00:00:00Z", "e": "2024-01-01T00:00:00Z",
		"f": "2020-01-01T00:00:00Z",
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		versioned(name, "5").create(t, store)
		if at, ok := seen[name]; ok {
			store.DB().MustExec(`update device_timestamps set last_seen = $1 where name = $2`, at, name)
		}
	}
	restored(t, store)
	send(t, store, reconnectOf("d", "7"))
	send(t, store, reconnectOf("e", "7"))
	send(t, store, reconnectOf("f", "5"))

	waiting, err := store.LongestWaiting(t.Context(), "r1", 0)
	require.NoError(t, err)
	var names []string
	for _, w := range waiting {
		names = append(names, w.Name)
	}
	require.Equal(t, []string{"c", "b", "a", "d", "e"}, names)
	require.Nil(t, waiting[0].LastSeenBefore)
	require.Equal(t, seen["b"], waiting[1].LastSeenBefore.Format("2006-01-02T15:04:05Z07:00"))
	require.Equal(t, isPaused, waiting[3].State)

	two, err := store.LongestWaiting(t.Context(), "r1", 2)
	require.NoError(t, err)
	require.Equal(t, waiting[:2], two)

	// A device that joins late has waited less than one that has been paused for long.
	store.DB().MustExec(`update rollcall.roll set since = since + interval '1 hour' where name in ('a', 'c')`)
	waiting, err = store.LongestWaiting(t.Context(), "r1", 0)
	require.NoError(t, err)
	names = nil
	for _, w := range waiting {
		names = append(names, w.Name)
	}
	require.Equal(t, []string{"b", "d", "e", "c", "a"}, names)
}

func TestATallyThatLostADeviceDoesNotAddUp(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.DB().MustExec(`insert into devices (org_id, name) values ($1, 'a'), ($1, 'b')`, runbook.DefaultOrgID)
	openRestore(t, store, "r1")
	_, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	_, err = store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	status, err := store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.True(t, status.AddsUp())
	store.DB().MustExec(`delete from rollcall.roll where name = 'b'`)
	status, err = store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Total)
	require.False(t, status.AddsUp())
}
