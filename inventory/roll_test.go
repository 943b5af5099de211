package inventory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

func TestTheRollIsNumberedPartByPart(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for i := range 10 {
		d := versioned(fmt.Sprintf("d%02d", i), "5")
		if i == 3 {
			d.Owner = ptr("Fleet/web")
		}
		if i == 4 {
			d.Owner = ptr("ResourceSync/web")
		}
		d.create(t, store)
	}
	openRestore(t, store, "r1")
	in := inventory.RollInput{RestoreID: "r1", Limit: 4}
	var parts []inventory.RollResult
	for len(parts) == 0 || !parts[len(parts)-1].Done {
		r, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		again, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		require.Zero(t, again.Put)
		again.Put = r.Put
		require.Equal(t, r, again, "the same part again puts no one, and ends where it ended")
		parts = append(parts, r)
		in = r.Next(in)
	}
	require.Equal(t, []inventory.RollResult{
		{Put: 4, LastOrg: runbook.DefaultOrgID, LastName: "d03"},
		{Put: 4, LastOrg: runbook.DefaultOrgID, LastName: "d07"},
		{Put: 2, LastOrg: runbook.DefaultOrgID, LastName: "d09", Done: true},
	}, parts)
	require.Equal(t, 10, transitions(t, store))
	require.Equal(t, 10, count(t, store, `select count(*) from devices where resource_version = 1`))

	entries, err := store.OpenEntries(t.Context(), "r1", runbook.Slice{From: 2, To: 5})
	require.NoError(t, err)
	for i, name := range []string{"d02", "d03", "d04"} {
		require.False(t, entries[i].Since.IsZero())
		fleet := map[string]string{"d03": "web"}[name]
		require.Equal(t, inventory.RollEntry{
			OrgID: runbook.DefaultOrgID, Name: name, Fleet: fleet, Seq: int64(i + 2), State: isAwaiting, Restored: "5",
			Since: entries[i].Since,
		}, entries[i])
	}
}

// A large fleet is gone through in the order of its table. Whoever is not met there, because another hand has moved
// the row to a page that was done, or because there were more on a page than one part takes, is found by name.
func TestALargeFleetIsPutOnTheRollAsItsTableHoldsIt(t *testing.T) {
	t.Parallel()
	const limit = 20
	store := newStore(t)
	createLargeFleet(t, store)
	eligible := count(t, store, `select count(*) from devices where not status ? 'lifecycle'`)
	var names []string
	require.NoError(t,
		store.DB().Select(&names, `select name from devices where status ? 'padding' order by ctid desc limit 200`))
	openRestore(t, store, "r1")

	in := inventory.RollInput{RestoreID: "r1", Limit: limit}
	byPage, bySweep, crowded, last := 0, 0, 0, int64(0)
	for done := false; !done; {
		part, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		require.LessOrEqual(t, part.Put, limit)
		again, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, part.FromPage, again.FromPage)
		switch {
		case in.FromPage < in.ToPage || in.ToPage == 0:
			require.Greater(t, part.FromPage, last)
			require.Empty(t, part.LastName)
			byPage += part.Put + again.Put
			crowded += again.Put // a part that was done again takes those that were too many
			last = part.FromPage
		default:
			bySweep += part.Put + again.Put
		}
		if last > 0 && len(names) > 0 { // the last ones move to pages that are done
			store.DB().MustExec(`update devices set alias = name where name = any ($1)`, pq.Array(names))
			require.NotZero(t,
				count(t, store, `select count(*) from devices where name = any ($1) and ctid < '(20,0)'`, pq.Array(names)))
			names = nil
		}
		in = part.Next(in)
		done = part.Done
	}
	t.Logf("%d by page, of these %d crowded, %d by name", byPage, crowded, bySweep)
	require.Equal(t, eligible, byPage+bySweep)
	require.Greater(t, byPage, eligible/2)
	require.NotZero(t, crowded)
	require.NotZero(t, bySweep)
	require.Equal(t, eligible,
		count(t, store, `select count(distinct seq) from rollcall.roll where seq between 0 and $1`, eligible-1))
	require.Equal(t, eligible,
		count(t, store,
			`select count(*) from devices where rollcall.device_state(annotations) = 'AwaitingReconnect'
				and resource_version = 1`))
	require.Equal(t, eligible, transitions(t, store))
}

// createLargeFleet makes devices of some pages, of which a tenth is not eligible and a fifth is small, with room on
// the first pages.
func createLargeFleet(t *testing.T, store *inventory.Store) {
	t.Helper()
	const n = 1000
	store.DB().MustExec(`
		insert into devices (org_id, name, annotations, status)
		select $1, md5(cast(i as text)), '{"device-controller/renderedVersion": "5"}', case when i % 10 = 0
			then jsonb_build_object('lifecycle', '{"status": "Decommissioned"}'::jsonb)
			when i > 800 then '{}'
			else jsonb_build_object('padding', (select string_agg(md5(i || '-' || p), '') from generate_series(1, 40) p)) end
		from generate_series(1, $2) i`, runbook.DefaultOrgID, n)
	store.DB().MustExec(`delete from devices where ctid < '(20,0)'`) // room to move to
	store.DB().MustExec(`vacuum analyze devices`)
}

// PostgreSQL learns the table's size again while a roll doubles it, and what it knows of a very large one is no small
// number.
func TestPartsStayAsLargeAsTheFirst(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	createLargeFleet(t, store)
	known := func(pages, rows int) {
		store.DB().MustExec(`update pg_class set relpages = $1, reltuples = $2 where oid = 'devices'::regclass`, pages, rows)
	}
	known(200_000_000, 400_000_000)
	openRestore(t, store, "r1")
	in := inventory.RollInput{RestoreID: "r1", Limit: 20}
	for range 5 {
		part, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		require.EqualValues(t, 9, part.FromPage-in.FromPage, "half a page a row, for eighteen rows")
		in = part.Next(in)
		known(400_000_000, 400_000_000)
	}
}

// A workflow that a worker of the release before carries on passes no pages.
func TestARollThatKnowsNoPagesGoesOnByName(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	createLargeFleet(t, store)
	openRestore(t, store, "r1")
	in, put, parts := inventory.RollInput{RestoreID: "r1", Limit: 20}, 0, 0
	for done := false; !done; parts++ {
		part, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		require.Less(t, parts, 100)
		in.AfterOrg, in.AfterName, done = part.LastOrg, part.LastName, part.Done
		put += part.Put
	}
	require.Equal(t, count(t, store, `select count(*) from devices where not status ? 'lifecycle'`), put)
}

// A process that dies in the middle leaves whole parts; the next one starts over and puts what is missing, while
// devices that have reported since stay as they are.
func TestARollThatWasInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for i := range 10 {
		versioned(fmt.Sprintf("d%02d", i), "5").create(t, store)
	}
	openRestore(t, store, "r1")
	first, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r1", Limit: 4})
	require.NoError(t, err)

	gate := holdAfterRoll(t, store)
	ctx, die := context.WithCancel(t.Context())
	died := make(chan error, 1)
	go func() {
		_, err := store.PutOnRoll(ctx,
			inventory.RollInput{RestoreID: "r1", Limit: 4, AfterOrg: first.LastOrg, AfterName: first.LastName})
		died <- err
	}()
	requireBlocked(t, store, 1)
	die()
	require.Error(t, <-died)
	require.NoError(t, gate.Rollback())
	require.Equal(t, 4, transitions(t, store), "of the part that was interrupted nothing is left")
	require.Equal(t, 4,
		count(t, store, `select count(*) from devices where rollcall.device_state(annotations) = 'AwaitingReconnect'`))

	send(t, store, reconnectOf("d01", "5"))
	require.EqualValues(t, 10, putAll(t, store, "r1"))
	require.EqualValues(t, 10, putAll(t, store, "r1"), "and again")
	require.Equal(t, isNormal, stateOf(t, store, "d01"))
	require.Equal(t, 11, transitions(t, store))
	require.Equal(t, 10, count(t, store, `select count(distinct seq) from rollcall.roll where seq between 0 and 9`))
	require.Equal(t, 1, count(t, store, `select count(*) from events where reason = 'SystemRestored'`))
}

func TestAFinishedRollStaysAsItIs(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	versioned("late", "5").create(t, store)
	r, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.Equal(t, inventory.RollResult{Done: true}, r)
	require.Equal(t, isNormal, stateOf(t, store, "late"))
}

func TestARestoreOfOneOrganisationLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			other, err := store.CreateOrg(t.Context(), "acme")
			require.NoError(t, err)
			for _, org := range []string{runbook.DefaultOrgID, other} {
				for _, name := range []string{"a", "b"} { // the same names in both
					d := versioned(name, "5")
					d.OrgID = org
					d.create(t, store)
				}
			}
			before := readDevice(t, store, runbook.DefaultOrgID, "a")
			openRestore(t, store, "r1", other)
			require.EqualValues(t, 2, putAll(t, store, "r1"))
			require.Equal(t, before, readDevice(t, store, runbook.DefaultOrgID, "a"))
			require.Equal(t, 2, count(t, store, `select count(*) from rollcall.roll where org_id = $1`, other))
			require.Equal(t, 1,
				count(t, store, `select count(*) from events where reason = 'SystemRestored' and org_id = $1`, other))

			openRestore(t, store, "r2", runbook.DefaultOrgID) // runs side by side
			require.EqualValues(t, 2, putAll(t, store, "r2"))
			in := reconnectOf("a", "5")
			in.OrgID = other
			require.Equal(t, runbook.T2, send(t, store, in).Transition)
			require.Equal(t, 1,
				count(t, store, `select count(*) from devices where rollcall.device_state(annotations) = 'Normal'`))
			require.Equal(t, runbook.CodeNoRollCall, code(send(t, store, reconnectOf("a", "5"))),
				"r1 is not of the default organisation")

			openRestore(t, store, "all")
			require.EqualValues(t, 4, putAll(t, store, "all"))
			require.Equal(t, 3, count(t, store, `select count(*) from rollcall.roll where superseded`))
		})
	}
}

func TestWhoIsNotEligibleIsLeftAlone(t *testing.T) {
	t.Parallel()
	deleted := versioned("deleted", "5")
	deleted.DeletedAt = ptr(time.Now())
	leaving := versioned("leaving", "5")
	leaving.Status = ptr(`{"lifecycle": {"status": "Decommissioning"}}`)
	left := versioned("left", "5")
	left.Status = ptr(`{"lifecycle": {"status": "Decommissioned"}}`)
	store := newStore(t)
	for _, d := range []device{deleted, leaving, left} {
		d.create(t, store)
	}
	before := snapshot(t, store).Devices
	restored(t, store)
	require.Equal(t, before, snapshot(t, store).Devices)
	require.Zero(t, transitions(t, store))
}

func TestARestoreThatDoesNotRunPutsNothing(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("d", "5").create(t, store)
	openRestore(t, store, "old")
	openRestore(t, store, "r1")
	cancelRestore(t, store, "r1")
	for id, want := range map[string]runbook.Code{
		"old": runbook.CodeSuperseded, "r1": runbook.CodeRestoreEnded, uuid.NewString(): runbook.CodeNotFound,
	} {
		_, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: id})
		require.Equal(t, want, refusal(t, err))
		_, err = store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: id})
		require.Equal(t, want, refusal(t, err))
		_, err = store.FinishRoll(t.Context(), id)
		require.Equal(t, want, refusal(t, err))
	}
	require.Equal(t, isNormal, stateOf(t, store, "d"))
}

func TestWhenADeviceWasSeenSurvivesASupersede(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.DB().MustExec(`insert into devices (org_id, name) values ($1, 'a'), ($1, 'b')`, runbook.DefaultOrgID)
	store.DB().MustExec(`update device_timestamps set last_seen = '2026-01-02T03:04:05Z'`)
	for _, id := range []string{"r1", "r2", "r3"} {
		_, err := store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: id, Supersede: true})
		require.NoError(t, err)
		_, err = store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: id})
		require.NoError(t, err)
		store.DB().MustExec(`update device_timestamps set last_seen = '2026-02-02T03:04:05Z' where name = 'b' and $1 = 'r1'`,
			id)
	}
	var seen []string
	require.NoError(t,
		store.DB().Select(&seen,
			`select to_char(last_seen_before at time zone 'UTC', 'YYYY-MM-DD') from rollcall.roll where restore_id = 'r3'
				order by name`))
	require.Equal(t, []string{"2026-01-02", "2026-02-02"}, seen, "stragglers can still be sorted by it")
}
