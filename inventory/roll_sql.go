package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory/pgdial"
	"rollcall/runbook"
)

// bulk are settings of the transaction that writes a part of the roll.
//
// The planner is kept from reading the whole of the devices for each part: it has no statistics yet about the roll
// that is being filled, and the cost of a restore would grow with the square of the fleet. Nor has it to make a bitmap
// for each device that is looked up on the roll.
//
// A GIN index puts off what is written to it and sorts it in from time to time, by default for each 4 MB. The more at
// a time, the fewer pages it visits for each device; but what is put off slows the readers down until someone sorts it
// in: the part that fills the list, or whoever writes to a device between two parts with PostgreSQL's own limit. With
// 12 MB that took up to 0.9 s, with 16 MB more.
var bulk = pgdial.RollPart.Local() + `,
    set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('enable_bitmapscan', 'off', true), set_config('gin_pending_list_limit', '12MB', true),
    set_config('work_mem', '32MB', true)`

// pageEnd ends a statement that works on a page: how many are on it, and which is the last.
const pageEnd = `
select (select count(*) from page) as size,
    coalesce((select cast(org_id as text) from page order by org_id desc, name desc limit 1), '') as last_org,
    coalesce((select name from page order by org_id desc, name desc limit 1), '') as last_name`

// windowByName is a window of the fleet in the order of organisation and name.
const windowByName = `
    select d.org_id, d.name from devices d
    where (d.org_id, d.name) > (cast($7 as uuid), $8) and ($2 = '' or d.org_id = cast(nullif($2, '') as uuid))
    order by d.org_id, d.name limit $9`

// windowByPage is a window of the fleet as the table holds it: what lies side by side on disk. New versions of rows
// that lie together are written together, so that fewer pages of the table are read, and the GIN indexes add to the
// ends of their lists (docs/performance.md).
const windowByPage = `
    select d.org_id, d.name from devices d
    where d.ctid >= cast('(' || $7 || ',0)' as tid) and d.ctid < cast('(' || $8 || ',0)' as tid)
      and ($2 = '' or d.org_id = cast(nullif($2, '') as uuid))`

// eligible is a condition on a device d: restore $1 puts it on its roll. $3 are the lifecycles that keep a device off
// it. Those that came back to a live Flight Control before the restore opened stay off it too.
const eligible = `d.deleted_at is null
      and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all (cast($3 as text[]))
      and ((select s.prepared_at from rollcall.restores s where s.id = $1) is null
      or rollcall.device_state(d.annotations) <> 'Normal'
        or not exists (select from device_timestamps t where t.org_id = d.org_id and t.name = d.name
            and t.last_seen > (select s.prepared_at from rollcall.restores s where s.id = $1)))`

// fillRoll is T1 for a window of the fleet, in one statement, set-based and by index. Of the window it takes those
// that are not on the roll yet, locks them if they are eligible, puts them there, takes them off older rolls, and
// writes them. The lock comes before all that is read of a device and looks at its newest version, so that what an
// agent or an older restore's transition wrote meanwhile is kept, and what they still want to write waits. No one else
// puts anything on this roll, as the row of the restore is locked.
//
// A device that an older restore still waits for was not rendered since that one began, where its version is the same.
// The generation that it had then counts, so that a change of its spec in between is not forgotten.
//
// Whether a device is on the roll is a subquery and no join, and "restore_id || ”" is no index condition, so that it
// can only be looked up by device: while the planner knows nothing yet of a new restore, all other ways seem as good.
// It asks for no column that is not in the index by device.
func fillRoll(window string) string {
	return `
with win as materialized (` + window + `
), missing as materialized (
    select w.org_id, w.name from win w
    where (select true from rollcall.roll r where r.org_id = w.org_id and r.name = w.name
    and r.restore_id || '' = $1) is null
), page as materialized (
    select d.org_id, d.name, d.owner, d.generation, rollcall.device_state(d.annotations) as state,
        coalesce(d.annotations ->> '` + runbook.AnnotationRenderedVersion + `', '') as restored
    from missing m join devices d on d.org_id = m.org_id and d.name = m.name
    where ` + eligible + `
    order by m.org_id, m.name limit $4
    for no key update of d
), fresh as materialized (
    select p.*, t.last_seen, (select coalesce(max(seq), -1) from rollcall.roll
    where restore_id = $1) + row_number() over () as seq
    from page p left join device_timestamps t on t.org_id = p.org_id and t.name = p.name
), written as (
    update devices d set
        (annotations, status) = (
            select (rollcall.object(was.annotations) - 'device-controller/conflictPaused') ||
            '{"device-controller/awaitingReconnect": "true"}',
                rollcall.object(was.status) || jsonb_build_object(
                    'summary', rollcall.object(was.status -> 'summary')
                        || '{"status": "AwaitingReconnect", "info": "` + runbook.InfoAwaitingReconnect + `"}',
                    'updated', '{"status": "Unknown"}'::jsonb)
            from (select d.annotations, d.status || '{}' as status offset 0) was), -- as in applyChange
        resource_version = coalesce(d.resource_version, 0) + 1,
        updated_at = now()
    from fresh f where d.org_id = f.org_id and d.name = f.name
), unseen as (
    update device_timestamps t set last_seen = null
    from fresh f where t.org_id = f.org_id and t.name = f.name and f.last_seen is not null
), overtaken as (
    update rollcall.roll o set superseded = true
    from fresh f
    where o.org_id = f.org_id and o.name = f.name and o.restore_id <> $1
      and o.state in ('AwaitingReconnect', 'ConflictPaused') and not o.superseded
), entered as (
    insert into rollcall.roll (restore_id, org_id, name, seq, state, fleet, restored_version, restored_generation,
    last_seen_before)
    select $1, f.org_id, f.name, f.seq, $5, case when f.owner like 'Fleet/%' then substr(f.owner, 7) else '' end,
    f.restored,
        least(f.generation, (
            select min(o.restored_generation) from rollcall.roll o where o.org_id = f.org_id and o.name = f.name
            and o.restore_id <> $1 and o.state in ('AwaitingReconnect', 'ConflictPaused') and not o.superseded
            and o.restored_version = f.restored)),
        coalesce(f.last_seen, (
            select max(o.last_seen_before) from rollcall.roll o where o.org_id = f.org_id and o.name = f.name
            and o.restore_id <> $1))
    from fresh f
), kept as (
    insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version,
    actor)
    select $1, f.org_id, f.name, '` + string(runbook.T1) + `', f.state, $5, f.restored, $6
    from fresh f
), ends as (
    select org_id, name, 1 as rank from (select org_id, name from page order by org_id desc, name desc limit 1) p
    where (select count(*) from page) = $4
    union all
    select org_id, name, 2 from (select org_id, name from win order by org_id desc, name desc limit 1) w
)
select (select count(*) from page) as put, (select count(*) from win) as seen,
    coalesce((select cast(org_id as text) from ends order by rank limit 1), '') as last_org,
    coalesce((select name from ends order by rank limit 1), '') as last_name`
}

// unapproved is a condition on a request e: no one has approved it.
const unapproved = `e.deleted_at is null and coalesce(not e.status @> '{"approval": {"approved": true}}', true)`

// An approval that is not a JSON true is none. Requests that carry the annotation are left alone, so that a repetition
// changes nothing. One that was made since the restore began was not in the backup, though it waits while the roll is
// made.
const annotateRequests = `
with page as materialized (
    select e.org_id, e.name
    from enrollment_requests e
    where (e.org_id, e.name) > (cast($1 as uuid), $2) and ($3 = '' or e.org_id = cast(nullif($3, '') as uuid))
      and ` + unapproved + `
      and coalesce(e.created_at < (select s.started_at from rollcall.restores s where s.id = $5), true)
    order by e.org_id, e.name limit $4
    for no key update of e
), annotated as (
    update enrollment_requests e set
        annotations = rollcall.object(e.annotations) || '{"device-controller/awaitingReconnect": "true"}',
        resource_version = coalesce(e.resource_version, 0) + 1,
        updated_at = now()
    from page p
    where e.org_id = p.org_id and e.name = p.name
      and coalesce(not e.annotations @> '{"device-controller/awaitingReconnect": "true"}', true)
)` + pageEnd

// AnnotateRequests marks the next unapproved enrollment requests, so that a device that is approved from one begins
// AwaitingReconnect: it was in the backup and may have been approved and deployed to since. It goes through them part
// by part as PutOnRoll goes through devices, and is repeatable in the same way; once FinishRoll was called there is
// nothing left to mark.
func (s *Store) AnnotateRequests(ctx context.Context, in RollInput) (RollResult, error) {
	var p page
	err := s.inTxWithin(ctx, pgdial.RollPart, func(tx *sqlx.Tx) error {
		r, err := lockRunning(ctx, tx, in.RestoreID)
		if err != nil {
			return err
		}
		if r.RolledAt != nil {
			return nil // what arrived since then was not in the backup
		}
		orgID, name := in.after()
		return tx.GetContext(ctx, &p, annotateRequests, orgID, name, r.OrgID, in.limit(), r.ID)
	})
	if err != nil {
		return RollResult{}, fmt.Errorf("annotate enrollment requests for restore %s: %w", in.RestoreID, err)
	}
	return p.result(in.limit()), nil
}
