package inventory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// forgetRoll puts the database back to before devices were put on the roll of r1.
func forgetRoll(t *testing.T, store *inventory.Store, names string) {
	t.Helper()
	store.DB().MustExec(`
begin;
update devices set annotations = annotations - 'device-controller/awaitingReconnect' where name in (` + names + `);
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where restore_id = 'r1' and name in (` + names + `);
delete from rollcall.roll where restore_id = 'r1' and name in (` + names + `);
commit`)
}

// A failover loses the commit of a part whose end the restore has heard of, and goes on from. Whoever finishes the roll
// finds who is missing.
func TestAPartOfTheRollThatWasLostIsPutOnItAgain(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for i := range 10 {
		versioned(fmt.Sprintf("d%02d", i), "5").create(t, store)
	}
	for _, name := range []string{"e0", "e1"} {
		store.DB().MustExec(`insert into enrollment_requests (org_id, name, spec, status, resource_version, created_at)
			values ($1, $2, '{}', '{"conditions": []}', 1, now())`, runbook.DefaultOrgID, name)
	}
	openRestore(t, store, "r1")
	in := inventory.RollInput{RestoreID: "r1", Limit: 4}
	for done, part := false, 1; !done; part++ {
		r, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		if part == 1 {
			forgetRoll(t, store, `'d00', 'd01', 'd02', 'd03'`)
		}
		in, done = r.Next(in), r.Done
	}
	marked, err := store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.True(t, marked.Done)
	store.DB().MustExec(`update enrollment_requests set annotations = null where name = 'e0'`)
	require.Equal(t, 6, count(t, store, `select count(*) from rollcall.roll`))
	// What was made since the restore began was not in the backup.
	versioned("younger", "5").create(t, store)
	store.DB().MustExec(`update devices set created_at = now() where name = 'younger'`)

	total, err := store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	require.EqualValues(t, 10, total-int64(count(t, store, `select count(*) from rollcall.roll where name = 'younger'`)))
	require.Equal(t, 10, count(t, store, `
		select count(*) from devices where rollcall.device_state(annotations) = 'AwaitingReconnect' and name <> 'younger'`))
	require.Equal(t, 10, count(t, store, `
		select count(distinct name) from rollcall.transitions where transition = 'T1' and name <> 'younger'`))
	require.Equal(t, 2, count(t, store, `select count(*) from enrollment_requests
		where annotations @> '{"device-controller/awaitingReconnect": "true"}'`))
	missing, err := inventory.Missing(t.Context(), store.DB(), "r1", 10)
	require.NoError(t, err)
	require.Empty(t, missing)
}

// Devices that no restore calls do not keep a roll from being finished, and are not missed.
func TestWhoIsNotCalledIsNotMissing(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for _, name := range []string{"called", "deleted", "leaving", "seen", "younger"} {
		versioned(name, "5").create(t, store)
	}
	store.DB().MustExec(`update devices set deleted_at = now() where name = 'deleted'`)
	store.DB().MustExec(`update devices set status = '{"lifecycle": {"status": "Decommissioning"}}' where name = 'leaving'`)
	store.DB().MustExec(`update device_timestamps set last_seen = now() where name = 'seen'`)
	openRestore(t, store, "r1")
	store.DB().MustExec(`update rollcall.restores set prepared_at = now() - interval '1 hour'`)
	store.DB().MustExec(`update devices set created_at = now() where name = 'younger'`)
	total, err := store.FinishRoll(t.Context(), "r1") // which puts those on it that are missing
	require.NoError(t, err)
	store.DB().MustExec(`delete from rollcall.roll where name = 'younger'`)
	require.LessOrEqual(t, total, int64(2))
	missing, err := inventory.Missing(t.Context(), store.DB(), "r1", 10)
	require.NoError(t, err)
	require.Empty(t, missing)
	store.DB().MustExec(`delete from rollcall.roll where name = 'called'`)
	missing, err = inventory.Missing(t.Context(), store.DB(), "r1", 10)
	require.NoError(t, err)
	require.Equal(t, []inventory.Device{{OrgID: runbook.DefaultOrgID, Name: "called"}}, missing)
	again, err := store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, total, again, "a roll that is made stays as it is")
}

// That a run was cancelled is lost where the audit had been told who started the restore, and does not know of that. A
// release that wrote neither has lost nothing.
func TestACancellationThatTheAuditCannotHaveIsNotLost(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("web-1", "5"))
	knows := func(run string, closed time.Time) bool {
		known, err := store.KnowsCancel(t.Context(), "r1", run, closed)
		require.NoError(t, err)
		return known
	}
	store.DB().MustExec(`
begin;
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where name = '';
commit`)
	before := time.Now().Add(-time.Hour)
	require.True(t, knows("run-1", before), "an earlier release writes no acts")
	act := inventory.ActInput{Act: runbook.ActRestore, RestoreID: "r1", By: "alice", RequestID: "start"}
	require.NoError(t, store.RecordAct(t.Context(), act))
	require.True(t, knows("run-1", before), "this one has taken it up")
	after := time.Now().Add(time.Hour)
	require.False(t, knows("run-1", after))
	act.Act, act.RequestID = runbook.ActCancel, "signal/run-1/7"
	require.NoError(t, store.RecordAct(t.Context(), act))
	require.True(t, knows("run-1", after))
	require.False(t, knows("run-2", after))
}
