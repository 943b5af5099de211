package inventory

// The statements of T1. Each changes the rows of one part of the roll, set-based and by index; what one needs of another is
// read from the roll, by the sequence numbers from $2 on, so that no names travel to and fro. Locks are taken in the order of
// every transition: first the devices, then rows of rolls.

// byIndex keeps the planner from reading the whole of the devices for each part: it has no statistics yet about the roll
// that is being filled, and the cost of a restore would grow with the square of the fleet.
const byIndex = `
select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// pageEnd ends a statement that works on a page: how many are on it, and which is the last.
const pageEnd = `
select (select count(*) from page) as size,
    coalesce((select cast(org_id as text) from page order by org_id desc, name desc limit 1), '') as last_org,
    coalesce((select name from page order by org_id desc, name desc limit 1), '') as last_name`

// fillRoll locks the next eligible devices and puts those on the roll that are not there yet. The rest of its work is the
// audit, which needs to know where the devices stood, and the page's end. Being on the roll already is no end of a page.
const fillRoll = `
with page as materialized (
    select d.org_id, d.name, d.owner, rollcall.device_state(d.annotations) as state, coalesce(d.annotations ->> $8, '') as restored
    from devices d
    where (d.org_id, d.name) > (cast($2 as uuid), $3) and ($4 = '' or d.org_id = cast(nullif($4, '') as uuid))
      and d.deleted_at is null and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all (cast($5 as text[]))
    order by d.org_id, d.name limit $6
    for no key update of d
), fresh as materialized (
    select p.*, cast($7 as bigint) - 1 + row_number() over () as seq
    from page p
    where not exists (select from rollcall.roll r where r.restore_id = $1 and r.org_id = p.org_id and r.name = p.name)
), entered as (
    insert into rollcall.roll (restore_id, org_id, name, seq, state, fleet, restored_version, last_seen_before)
    select $1, f.org_id, f.name, f.seq, $9, case when f.owner like 'Fleet/%' then substr(f.owner, 7) else '' end, f.restored,
        coalesce(t.last_seen, (
            select max(o.last_seen_before) from rollcall.roll o where o.org_id = f.org_id and o.name = f.name and o.restore_id <> $1))
    from fresh f left join device_timestamps t on t.org_id = f.org_id and t.name = f.name
), kept as (
    insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version, actor)
    select $1, f.org_id, f.name, $10, f.state, $9, f.restored, $11
    from fresh f
)` + pageEnd

// rollSteps follow fillRoll in the same transaction; $1 is the restore, $2 the first sequence number of the part.
var rollSteps = []struct{ what, query string }{
	{"take the devices off older rolls", `
update rollcall.roll o set superseded = true
from rollcall.roll n
where n.restore_id = $1 and n.seq >= $2 and o.org_id = n.org_id and o.name = n.name and o.restore_id <> $1
  and o.state in ('AwaitingReconnect', 'ConflictPaused') and not o.superseded`},

	{"clear when the devices were seen", `
update device_timestamps t set last_seen = null
from rollcall.roll n
where n.restore_id = $1 and n.seq >= $2 and t.org_id = n.org_id and t.name = n.name and t.last_seen is not null`},

	{"write the devices", `
update devices d set
    annotations = (rollcall.object(d.annotations) - 'device-controller/conflictPaused')
        || '{"device-controller/awaitingReconnect": "true"}',
    status = rollcall.object(d.status) || jsonb_build_object(
        'summary', rollcall.object(d.status -> 'summary') || '{"status": "AwaitingReconnect"}',
        'updated', rollcall.object(d.status -> 'updated') || '{"status": "Unknown"}'),
    resource_version = coalesce(d.resource_version, 0) + 1,
    updated_at = now()
from rollcall.roll n
where n.restore_id = $1 and n.seq >= $2 and d.org_id = n.org_id and d.name = n.name`},
}
