// Package overview reads what an operator watches of a roll call beside its tally: how fast devices answer, which
// conflicts are new, who has waited longest, and what waits for a human.
package overview

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/inventory"
)

// Window is how far back answers are counted.
const Window = 5 * time.Minute

// Query says of which restore to read, and how much.
type Query struct {
	RestoreID string
	// OrgID limits the answer to one organisation's devices and requests; empty is all.
	OrgID string
	// Rows is how many devices each list has at most.
	Rows int
}

// Overview is what was read.
type Overview struct {
	// Answered is how many devices have left AwaitingReconnect in the last In: Window, or less where the restore is
	// younger.
	Answered int64
	In       time.Duration
	// Undecided is how many paused devices await a decision.
	Undecided int64
	// PendingRequests is how many enrollment requests await a decision.
	PendingRequests int64
	// HeldPlans are the ids of the plans that wait for a human's word.
	HeldPlans []string
	// Conflicts are the devices that were paused last, the newest first.
	Conflicts []inventory.Waiting
	// Longest are the devices that have waited longest.
	Longest []inventory.Waiting
}

// The audit is read backwards from its end, and no further than the window. Its ids may be a little out of the order
// of their moments, which a rate does not notice.
const selectCounts = `
with restore as (
  select greatest(started_at, now() - cast($3 as interval)) as from_then from rollcall.restores where id = $1
), first as (
  select coalesce((
    select t.id from rollcall.transitions t, restore where t.at < restore.from_then
    order by t.id desc limit 1), 0) as id
)
select
  extract(epoch from now() - restore.from_then) as seconds,
  (select count(*) from rollcall.transitions t, first
    where t.id > first.id and t.restore_id = $1 and t.at >= restore.from_then and t.transition in ('T2', 'T3', 'T5')
      and t.from_state = 'AwaitingReconnect' and ($2 = '' or t.org_id = cast(nullif($2, '') as uuid))) as answered,
  (select count(*) from rollcall.roll r
    where r.restore_id = $1 and r.state = 'ConflictPaused' and not r.superseded and r.resumed_at is null
      and ($2 = '' or r.org_id = cast(nullif($2, '') as uuid))) as undecided,
  array(select p.id from rollcall.plans p
    where p.restore_id = $1 and p.state = 'Held' and ($2 = '' or p.org_id = cast(nullif($2, '') as uuid))
    order by p.planned_at) as held
from restore`

// Read reads the overview of a restore.
func Read(ctx context.Context, store *inventory.Store, q Query) (Overview, error) {
	o, err := counts(ctx, store.DB(), q)
	if err != nil {
		return Overview{}, fmt.Errorf("read the overview of restore %s: %w", q.RestoreID, err)
	}
	if o.PendingRequests, err = store.CountPendingRequests(ctx, q.OrgID); err != nil {
		return Overview{}, err
	}
	if q.Rows <= 0 {
		return o, nil
	}
	if o.Conflicts, err = store.NewestConflictsIn(ctx, q.RestoreID, q.OrgID, q.Rows); err != nil {
		return Overview{}, err
	}
	o.Longest, err = store.LongestWaitingIn(ctx, q.RestoreID, q.OrgID, q.Rows)
	return o, err
}

func counts(ctx context.Context, db *sqlx.DB, q Query) (Overview, error) {
	var row struct {
		Seconds   float64        `db:"seconds"`
		Answered  int64          `db:"answered"`
		Undecided int64          `db:"undecided"`
		Held      pq.StringArray `db:"held"`
	}
	if err := db.GetContext(ctx, &row, selectCounts, q.RestoreID, q.OrgID, Window.String()); err != nil {
		return Overview{}, err
	}
	return Overview{
		Answered: row.Answered, In: time.Duration(row.Seconds * float64(time.Second)),
		Undecided: row.Undecided, HeldPlans: row.Held,
	}, nil
}
