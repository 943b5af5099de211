package inventory_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	waiting = `annotations: {device-controller/awaitingReconnect: "true", device-controller/renderedVersion: "5"}`
	paused  = `annotations: {device-controller/conflictPaused: "true", device-controller/renderedVersion: "5"}`
)

// enroll puts a device on the roll of a restore as T1 and what came after would have left it.
func enroll(t *testing.T, store *inventory.Store, restore string, state runbook.RestoreState, name string,
	on runbook.State, reported any, superseded bool,
) {
	t.Helper()
	store.DB().MustExec(`insert into rollcall.restores (id, state) values ($1, $2) on conflict do nothing`, restore,
		string(state))
	store.DB().MustExec(`insert into rollcall.roll (restore_id, org_id, name, seq, state, reported_version, since,
		last_seen_before, superseded)
		values ($1, $2, $3, (select count(*) from rollcall.roll where restore_id = $1), $4, $5, '2026-08-01T10:00:00Z',
		'2026-07-01T10:00:00Z', $6)`,
		restore, runbook.DefaultOrgID, name, string(on), reported, superseded)
}

func TestStandingSaysWhereDevicesStand(t *testing.T) {
	t.Parallel()
	store := openImported(t,
		document("Device", "name: a-waits, owner: Fleet/web, "+waiting, "", `config: {renderedVersion: "5"}`),
		document("Device", "name: b-paused, "+paused, "", `config: {renderedVersion: "7"}`),
		document("Device", "name: c-normal", "", ""),
		document("Device", "name: d-withdrawn, "+waiting, "", ""),
		document("Device", "name: e-superseded, "+paused, "", `config: {renderedVersion: "8"}`),
		document("Device", "name: f-unrolled, owner: ResourceSync/x, "+paused, "", `config: {renderedVersion: "9"}`),
		document("Device", `name: gone, deletionTimestamp: "2026-08-01T10:00:00Z"`, "", ""))
	enroll(t, store, "old", runbook.RestoreSuperseded, "a-waits", runbook.StateNormal, "1", true)
	enroll(t, store, "old", runbook.RestoreSuperseded, "f-unrolled", runbook.StateWithdrawn, "1", false)
	enroll(t, store, "now", runbook.RestoreRunning, "a-waits", runbook.StateAwaitingReconnect, nil, false)
	enroll(t, store, "now", runbook.RestoreRunning, "b-paused", runbook.StateConflictPaused, "7", false)
	enroll(t, store, "now", runbook.RestoreRunning, "d-withdrawn", runbook.StateWithdrawn, nil, false)
	enroll(t, store, "now", runbook.RestoreRunning, "e-superseded", runbook.StateConflictPaused, "7", true)
	got, err := store.Position(t.Context(), inventory.Query{})
	require.NoError(t, err)
	since, before := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	on := func(d inventory.DevicePosition) inventory.DevicePosition {
		d.RestoreID, d.Mode, d.Since, d.LastSeenBefore = "now", runbook.ModeStandalone, &since, &before
		return d
	}
	want := []inventory.DevicePosition{
		on(inventory.DevicePosition{Name: "a-waits", Fleet: "web", State: runbook.StateAwaitingReconnect, Restored: "5"}),
		on(inventory.DevicePosition{Name: "b-paused", State: runbook.StateConflictPaused, Restored: "5", Reported: "7"}),
		{Name: "c-normal", State: runbook.StateNormal},
		on(inventory.DevicePosition{Name: "d-withdrawn", State: runbook.StateWithdrawn, Restored: "5"}),
		{Name: "e-superseded", State: runbook.StateConflictPaused, Restored: "5", Reported: "8"},
		{Name: "f-unrolled", State: runbook.StateConflictPaused, Restored: "5", Reported: "9"},
	}
	for i := range want {
		want[i].OrgID = runbook.DefaultOrgID
	}
	wantText, err := json.Marshal(want)
	require.NoError(t, err)
	gotText, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(wantText), string(gotText))
}

func TestStandingTakesSelectors(t *testing.T) {
	t.Parallel()
	store := openImported(t,
		document("Device", "name: web-1, labels: {env: prod}, "+paused, "", "summary: {status: ConflictPaused}"),
		document("Device", "name: web-2, labels: {env: test}", "", ""))
	for _, q := range []inventory.Query{
		{Labels: mustLabels(t, "env=prod")},
		{Fields: mustFields(t, "devices", "status.summary.status=ConflictPaused")},
		{Names: []string{"web-1"}},
		{Limit: 1},
	} {
		got, err := store.Position(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, "web-1", got[0].Name)
	}
}

func TestTransitionsAreReadNewestLast(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	store.DB().MustExec(`insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state,
		restored_version, reported_version, next_version, signal, actor, reason, code, message)
		values ('r1', $1, 'web-1', 'T1', 'Normal', 'AwaitingReconnect', '5', '', '', '', 'user:alice', '', '', ''),
			('r1', $1, 'web-2', 'T1', '', '', '', '', '', '', '', '', '', ''),
			('r2', $1, 'web-1', 'Refused', 'AwaitingReconnect', 'AwaitingReconnect', '5', '', '', 'resume', 'user:bob', 'why not', 'NotPaused', 'not yet')`, runbook.DefaultOrgID)
	all, err := store.Transitions(t.Context(), runbook.DefaultOrgID, "web-1", 0)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, runbook.T1, all[0].Transition)
	last, err := store.Transitions(t.Context(), runbook.DefaultOrgID, "web-1", 1)
	require.NoError(t, err)
	require.Equal(t, all[1:], last)
	require.NotZero(t, last[0].At)
	last[0].At = time.Time{}
	require.Equal(t, inventory.TransitionRow{
		RestoreID: "r2", OrgID: runbook.DefaultOrgID, Name: "web-1", Transition: runbook.Refused,
		From: runbook.StateAwaitingReconnect, To: runbook.StateAwaitingReconnect,
		Restored: "5", Signal: "resume", Actor: "user:bob", Reason: "why not", Code: runbook.CodeNotPaused,
		Message: "not yet",
	}, last[0])
	none, err := store.Transitions(t.Context(), runbook.DefaultOrgID, "web-3", 0)
	require.NoError(t, err)
	require.Empty(t, none)
}
