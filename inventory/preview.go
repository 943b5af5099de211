package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"rollcall/runbook"
)

// RestorePreview is what a restore would do if it were opened now.
type RestorePreview struct {
	RestoreID string `json:"restoreId"`
	// OrgID is the organisation that it would be limited to; empty is all of them.
	OrgID string `json:"orgId,omitempty"`
	// Supersedes are the ids of the restores that it would take over from.
	Supersedes []string `json:"supersedes"`
	// Total is how many devices it would put on its roll; all of them would wait for their report.
	Total int64 `json:"total" db:"total"`
	// Of these, Back came back in a restore that runs and would wait again, Waiting and Paused do so now, and Withdrawn
	// were withdrawn.
	Back      int64 `json:"back" db:"back"`
	Waiting   int64 `json:"waiting" db:"waiting"`
	Paused    int64 `json:"paused" db:"paused"`
	Withdrawn int64 `json:"withdrawn" db:"withdrawn"`
	// Prepared is not nil where flightctl-restore has prepared the devices for this restore. Beside Flight Control the
	// restore leaves those off its roll that are back since, unless it calls all.
	Prepared *Preparation `json:"prepared,omitempty"`
}

// Preparation is what flightctl-restore did for a restore beside Flight Control.
type Preparation struct {
	At time.Time `json:"at" db:"at"`
	// Back counts the eligible devices that were seen after it, neither wait nor are paused, and are on no roll of this
	// restore: Flight Control has compared them before.
	Back int64 `json:"back" db:"back"`
}

const selectPreview = `
select count(*) as total,
  count(*) filter (where l.state = 'Normal') as back, count(*) filter (where l.state = 'AwaitingReconnect') as waiting,
  count(*) filter (where l.state = 'ConflictPaused') as paused,
  count(*) filter (where l.state = 'Withdrawn') as withdrawn
from devices d
left join (rollcall.roll l join rollcall.restores s on s.id = l.restore_id and s.state = 'Running')
  on l.org_id = d.org_id and l.name = d.name and not l.superseded
where d.deleted_at is null and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all (cast($2 as text[]))
  and ($1 = '' or d.org_id = cast(nullif($1, '') as uuid))`

// PreviewRestore counts what opening a restore would do, and opens nothing. What opening it would refuse because of a
// restore that runs is a *Refusal here as well. Total is without regard to Prepared, which counts beside Flight Control
// alone.
func (s *Store) PreviewRestore(ctx context.Context, in OpenRestoreInput) (RestorePreview, error) {
	p := RestorePreview{RestoreID: in.ID, OrgID: in.OrgID, Supersedes: []string{}}
	var running []restore
	err := s.db.SelectContext(ctx, &running, selectRestore+`
		where state = $1 and id <> $2 and ($3 = '' or org_id is null or org_id = cast(nullif($3, '') as uuid))
		order by started_at, id`, runbook.RestoreRunning, in.ID, in.OrgID)
	if err != nil {
		return p, fmt.Errorf("look for restores that run: %w", err)
	}
	for _, other := range running {
		if err := other.mayBeSuperseded(in); err != nil {
			return p, err
		}
		p.Supersedes = append(p.Supersedes, other.ID)
	}
	if err := s.db.GetContext(ctx, &p, selectPreview, in.OrgID, ineligible); err != nil {
		return p, fmt.Errorf("count the devices of restore %s: %w", in.ID, err)
	}
	p.Prepared, err = s.preparation(ctx, preparedAt, in.ID, in.OrgID)
	return p, err
}

// Preparation reads what flightctl-restore did for a restore; nil where it did nothing, or the restore calls all.
func (s *Store) Preparation(ctx context.Context, restoreID string) (*Preparation, error) {
	var orgID string
	err := s.db.GetContext(ctx, &orgID,
		`select coalesce(cast(org_id as text), '') from rollcall.restores where id = $1`, restoreID)
	if err != nil {
		return nil, fmt.Errorf("read restore %s: %w", restoreID, err)
	}
	return s.preparation(ctx, `(select r.prepared_at from rollcall.restores r where r.id = $1)`, restoreID, orgID)
}

// preparation counts the devices that are back since at, an expression of the restore $1 and the organisation $2.
func (s *Store) preparation(ctx context.Context, at, restoreID, orgID string) (*Preparation, error) {
	p := &Preparation{}
	err := s.db.GetContext(ctx, p, `
with prepared as materialized (select `+at+` as at)
select p.at, count(d.name) as back
from prepared p left join (devices d join device_timestamps t on t.org_id = d.org_id and t.name = d.name)
  on t.last_seen > p.at and d.deleted_at is null and rollcall.device_state(d.annotations) = 'Normal'
  and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all (cast($3 as text[]))
  and ($2 = '' or d.org_id = cast(nullif($2, '') as uuid))
  and not exists (select from rollcall.roll l where l.org_id = d.org_id and l.name = d.name and l.restore_id = $1)
where p.at is not null group by p.at`, restoreID, orgID, ineligible)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("count the devices that are back since flightctl-restore: %w", err)
	}
	p.At = p.At.UTC()
	return p, nil
}
