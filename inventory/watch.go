package inventory

import (
	"context"
	"fmt"
	"time"

	"rollcall/runbook"
)

// SightingsInput asks what has become of the devices that a restore waits for.
type SightingsInput struct {
	RestoreID string
	// Since leaves out devices whose row has not changed after it, on whichever clock that was written; zero leaves out none.
	Since time.Time
}

// Sighting is a device whose workflow does not know yet what the database says.
type Sighting struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
	// Signal is runbook.SignalReconnect for one that has reported Version, and runbook.SignalLook for one that Flight Control
	// has moved, or that is gone.
	Signal  string `db:"signal"`
	Version string `db:"version"`
}

// Sightings is one look at a roll.
type Sightings struct {
	// At is when it was, on the database's clock.
	At time.Time
	// Running tells whether the restore is still the current one; otherwise nobody is seen.
	Running bool
	Devices []Sighting
}

// sightings is one statement for any size of fleet. It lists those for whom a signal is due: once their workflow has dealt
// with it, the roll (or, for a version that cannot be read, the audit) says so and they are not listed any more.
//
// That a device was seen proves no report: a poll sets last_seen, and leaves the status as the backup had it. Its version
// counts only where the device's row was written after T1 as well (T1 writes row and roll at the same instant), or a device
// that is ahead would be released by the version that the backup remembers.
//
// The cheap comparisons come first, because a status may be long and is stored apart: on a look with Since it is only read
// for devices that have changed.
//
// Those whose workflows are there come first as far as that is known: whose place has changed since the roll was made, such as
// paused devices and late joiners, and then in the order in which the roll call starts them.
const sightings = `
with looked as (
    select s.id, now() as at, s.state = 'Running' as running, s.rolled_at from rollcall.restores s where s.id = $1
), found as materialized (
    select r.org_id, r.name, r.state, r.seq, coalesce(r.since > s.rolled_at, false) as changed, d.name is null or d.deleted_at is not null
            or coalesce(d.status -> 'lifecycle' ->> 'status', '') = any (cast($3 as text[]))
            or rollcall.device_state(d.annotations) <> r.state as moved,
        coalesce(d.status -> 'config' ->> 'renderedVersion', '') as version, coalesce(r.reported_version, '') as known
    from looked s
    join rollcall.roll r on r.restore_id = s.id and s.running
    left join devices d on d.org_id = r.org_id and d.name = r.name
    left join device_timestamps t on t.org_id = r.org_id and t.name = r.name
    where r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded
      and (d.name is null or $2 = timestamptz '-infinity' or greatest(d.updated_at, d.deleted_at, t.last_seen) > $2)
      and (d.name is null or d.deleted_at is not null
        or rollcall.device_state(d.annotations) = 'Normal'
        or (rollcall.device_state(d.annotations) = 'ConflictPaused' and r.state = 'AwaitingReconnect')
        or (rollcall.device_state(d.annotations) = r.state and d.updated_at > r.since and (t.last_seen is not null or r.state = 'ConflictPaused'))
        or ((d.updated_at > r.since or $2 = timestamptz '-infinity')
            and coalesce(d.status -> 'lifecycle' ->> 'status', '') = any (cast($3 as text[]))))
), due as (
    select f.org_id, f.name, f.version, f.seq, f.changed, case when f.moved then $4 else $5 end as signal
    from found f
    where f.moved or ((f.state = 'AwaitingReconnect' or coalesce(nullif(f.version, ''), '0') <> f.known) and not exists (
        select from rollcall.transitions x
        where x.restore_id = $1 and x.org_id = f.org_id and x.name = f.name
          and x.transition = 'Refused' and x.signal = $5 and x.code = $6 and x.reported_version = f.version))
)
select looked.at, looked.running, coalesce(cast(due.org_id as text), '') as org_id, coalesce(due.name, '') as name,
    coalesce(due.signal, '') as signal, coalesce(due.version, '') as version
from looked left join due on true
order by due.changed desc, due.seq`

// Sightings looks once at everybody whom a restore waits for, and returns those whose workflow must be told something, first
// those whose workflow is the likeliest to be there. An unknown restore is one that does not run.
func (s *Store) Sightings(ctx context.Context, in SightingsInput) (Sightings, error) {
	since := "-infinity"
	if !in.Since.IsZero() {
		since = in.Since.UTC().Format(time.RFC3339Nano)
	}
	var rows []struct {
		Sighting
		At      time.Time `db:"at"`
		Running bool      `db:"running"`
	}
	err := s.db.SelectContext(ctx, &rows, sightings, in.RestoreID, since, ineligible,
		runbook.SignalLook, runbook.SignalReconnect, runbook.CodeInvalidVersion)
	if err != nil {
		return Sightings{}, fmt.Errorf("look for whom restore %s waits: %w", in.RestoreID, err)
	}
	var seen Sightings
	for _, row := range rows {
		seen.At, seen.Running = row.At.UTC(), row.Running
		if row.Name != "" {
			seen.Devices = append(seen.Devices, row.Sighting)
		}
	}
	return seen, nil
}
