package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// A tally is read in one statement, so that its counts are of one moment and add up.
const selectTally = `
select s.id, s.state, s.mode, s.started_at, s.finished_at, coalesce(cast(s.org_id as text), '') as org_id,
  s.opened_by, s.closed_by, s.reason, coalesce(s.superseded_by, '') as superseded_by,
  case when s.rolled_at is not null and ($1 = '' or s.org_id is not null) then s.total end as total, coalesce((
    select jsonb_object_agg(c.state, c.n)
    from (select r.state, count(*) as n from rollcall.roll r
      where r.restore_id = s.id and ($1 = '' or r.org_id = cast(nullif($1, '') as uuid)) group by r.state) c),
      '{}') as counts,
    (select count(*) from rollcall.transitions t
      where t.restore_id = s.id and t.code = 'Lost' and ($1 = '' or t.org_id = cast(nullif($1, '') as uuid))) as lost,
    (select jsonb_build_object('reports', sum(r.held_back), 'devices', count(*),
        'most', (array_agg(r.name order by r.held_back desc, r.name, r.org_id))[1],
        'orgId', (array_agg(r.org_id order by r.held_back desc, r.name, r.org_id))[1])
      from rollcall.roll r where r.restore_id = s.id and r.held_back > 0
        and ($1 = '' or r.org_id = cast(nullif($1, '') as uuid)) having count(*) > 0) as held_back
from rollcall.restores s `

type tallyRow struct {
	ID         string               `db:"id"`
	State      runbook.RestoreState `db:"state"`
	Mode       runbook.Mode         `db:"mode"`
	StartedAt  time.Time            `db:"started_at"`
	FinishedAt *time.Time           `db:"finished_at"`
	OrgID      string               `db:"org_id"`
	OpenedBy   string               `db:"opened_by"`
	ClosedBy   string               `db:"closed_by"`
	Reason     string               `db:"reason"`
	// SupersededBy is the newer restore that took over, or empty.
	SupersededBy string `db:"superseded_by"`
	// Total is what FinishRoll fixed; nil while devices are still being put on the roll, and where one organisation's
	// devices are counted on the roll of a restore of all.
	Total  *int64 `db:"total"`
	Counts []byte `db:"counts"`
	Lost   int64  `db:"lost"`
	// HeldBack is a runbook.HeldBack as JSON, or nil.
	HeldBack []byte `db:"held_back"`
}

func (r tallyRow) status() (runbook.RestoreStatus, error) {
	s := runbook.RestoreStatus{
		RestoreID: r.ID, State: r.State, Mode: r.Mode, StartedAt: r.StartedAt.UTC(), Counts: runbook.NewCounts(),
		Lost:  r.Lost,
		OrgID: r.OrgID, OpenedBy: r.OpenedBy, ClosedBy: r.ClosedBy, Reason: r.Reason, SupersededBy: r.SupersededBy,
	}
	if r.FinishedAt != nil {
		finished := r.FinishedAt.UTC()
		s.FinishedAt = &finished
	}
	if err := json.Unmarshal(r.Counts, &s.Counts); err != nil {
		return runbook.RestoreStatus{}, fmt.Errorf("read the counts of restore %s: %w", r.ID, err)
	}
	if r.HeldBack != nil {
		if err := json.Unmarshal(r.HeldBack, &s.HeldBack); err != nil {
			return runbook.RestoreStatus{}, fmt.Errorf("read what restore %s has held back: %w", r.ID, err)
		}
	}
	if r.Total != nil {
		s.Total = *r.Total // fixed apart from the rows that are counted, so that a row that was lost shows
		return s, nil
	}
	for _, n := range s.Counts {
		s.Total += n
	}
	return s, nil
}

// RestoreStatus reads the tally of a restore. An empty id is the newest restore that runs, or else the newest of all.
// Where there is none the error is a *Refusal with CodeNotFound.
func (s *Store) RestoreStatus(ctx context.Context, id string) (runbook.RestoreStatus, error) {
	return restoreStatus(ctx, s.db, id)
}

// RestoreStatusIn is RestoreStatus as an organisation sees it: of the restores that are its own or of all
// organisations, with its own devices counted. A restore that is another organisation's is a *Refusal with
// CodeNotFound.
func (s *Store) RestoreStatusIn(ctx context.Context, id, orgID string) (runbook.RestoreStatus, error) {
	if orgID == "" {
		return s.RestoreStatus(ctx, id)
	}
	status, err := restoreStatusIn(ctx, s.db, id, orgID)
	if !isNotFound(err) || id == "" {
		return status, err
	}
	other, otherErr := s.RestoreStatus(ctx, id)
	if otherErr != nil {
		return runbook.RestoreStatus{}, err
	}
	return runbook.RestoreStatus{},
		runbook.Refuse(runbook.CodeNotFound, "restore %s is of organisation %s, not of %s", id, runbook.OrgName(other.OrgID),
			runbook.OrgName(orgID))
}

func restoreStatus(ctx context.Context, db sqlx.QueryerContext, id string) (runbook.RestoreStatus, error) {
	return restoreStatusIn(ctx, db, id, "")
}

func restoreStatusIn(ctx context.Context, db sqlx.QueryerContext, id, orgID string) (runbook.RestoreStatus, error) {
	found, err := tallies(ctx, db, `where ($2 = '' or s.id = $2) and ($1 = '' or s.org_id is null
		or s.org_id = cast(nullif($1, '') as uuid))
order by s.state = 'Running' desc, s.started_at desc, s.id desc limit 1`, orgID, id)
	if err != nil {
		return runbook.RestoreStatus{}, err
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case id == "":
		return runbook.RestoreStatus{},
			runbook.Refuse(runbook.CodeNotFound, "there is no restore yet; start one with `starter restore`")
	default:
		return runbook.RestoreStatus{}, runbook.Refuse(runbook.CodeNotFound, "there is no restore %s", id)
	}
}

// Restores reads the tallies of the newest restores, the newest first; limit is how many at most, 0 or less is all.
func (s *Store) Restores(ctx context.Context, limit int) ([]runbook.RestoreStatus, error) {
	return s.RestoresIn(ctx, "", limit)
}

// RestoresIn is Restores as an organisation sees them: those that are its own or of all organisations, with its own
// devices counted. An empty orgID is all.
func (s *Store) RestoresIn(ctx context.Context, orgID string, limit int) ([]runbook.RestoreStatus, error) {
	return tallies(ctx, s.db, `where ($1 = '' or s.org_id is null or s.org_id = cast(nullif($1, '') as uuid))
order by s.started_at desc, s.id desc limit nullif(greatest($2, 0), 0)`, orgID, limit)
}

// tallies reads the restores that which selects by $1, the organisation whose devices are counted (empty is all), and
// $2.
func tallies(
	ctx context.Context, db sqlx.QueryerContext, which string, orgID string, arg any,
) ([]runbook.RestoreStatus, error) {
	var rows []tallyRow
	if err := sqlx.SelectContext(ctx, db, &rows, selectTally+which, orgID, arg); err != nil {
		return nil, fmt.Errorf("read the tally of restores: %w", err)
	}
	statuses := make([]runbook.RestoreStatus, 0, len(rows))
	for _, r := range rows {
		status, err := r.status()
		if err != nil {
			return nil, err
		}
		statuses = append(statuses, status)
	}
	return statuses, nil
}

// RollEntry is a device on a restore's roll.
type RollEntry struct {
	OrgID string `db:"org_id" json:"orgId"`
	Name  string `db:"name" json:"name"`
	// Fleet is the name of the owning fleet, or empty.
	Fleet string        `db:"fleet" json:"fleet,omitempty"`
	Seq   int64         `db:"seq" json:"seq"`
	State runbook.State `db:"state" json:"state"`
	// Restored is the restored version as it was found, readable or not; Reported is empty until the device has reported.
	Restored string    `db:"restored_version" json:"restoredVersion"`
	Reported string    `db:"reported_version" json:"reportedVersion,omitempty"`
	Since    time.Time `db:"since" json:"since"`
	// Noted is the version that the device has reported and that was noted before its workflow started; Look reports
	// whether it has reported none, and its workflow is to look where the database has it. Both are of a device that
	// awaits its reconnect.
	Noted string `db:"noted" json:"-"`
	Look  bool   `db:"look" json:"-"`
	// Batch is the number of the batch that has claimed the device; nil is none.
	Batch *int `db:"batch" json:"-"`
	// Mode is that of the restore; empty is standalone, and where it was not asked for.
	Mode runbook.Mode `db:"mode" json:"-"`
}

// entryColumns are a RollEntry of r, a row of the roll.
const entryColumns = `
select r.org_id, r.name, r.fleet, r.seq, r.state, r.restored_version, coalesce(r.reported_version,
'') as reported_version, r.since,
    case when r.state = 'AwaitingReconnect' then coalesce(r.noted_version, '') else '' end as noted,
    r.state = 'AwaitingReconnect' and coalesce(r.noted_version = '', false) as look,
    r.batch,
    coalesce((select nullif(m.mode, 'standalone') from rollcall.restores m where m.id = r.restore_id), '') as mode
`

const selectEntries = entryColumns + `from rollcall.roll r `

// OpenEntries reads who of a slice of the roll still holds the restore open, in the order of the roll. A device that a
// newer restore has put on its roll does not.
func (s *Store) OpenEntries(ctx context.Context, restoreID string, slice runbook.Slice) ([]RollEntry, error) {
	entries := []RollEntry{}
	err := s.db.SelectContext(ctx, &entries, selectEntries+`
		where r.restore_id = $1 and r.seq >= $2 and r.seq < $3 and r.state in ($4, $5) and not r.superseded order by r.seq`,
		restoreID, slice.From, slice.To, runbook.StateAwaitingReconnect, runbook.StateConflictPaused)
	if err != nil {
		return nil, fmt.Errorf("read the roll of restore %s: %w", restoreID, err)
	}
	for i := range entries {
		entries[i].Since = entries[i].Since.UTC()
	}
	return entries, nil
}

// WaitingEntry reads a device's place on the roll while it holds that restore open; nil where it does not: it has left
// the roll call, a newer restore has it, or the restore has ended.
func (s *Store) WaitingEntry(ctx context.Context, restoreID, orgID, name string) (*RollEntry, error) {
	var entries []RollEntry
	err := s.db.SelectContext(ctx, &entries, selectEntries+`
		join rollcall.restores t on t.id = r.restore_id and t.state = $6
		where r.restore_id = $1 and r.org_id = $2 and r.name = $3 and r.state in ($4, $5) and not r.superseded`,
		restoreID, orgID, name, runbook.StateAwaitingReconnect, runbook.StateConflictPaused, runbook.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("read the place of device %s on the roll of restore %s: %w", name, restoreID, err)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	entries[0].Since = entries[0].Since.UTC()
	return &entries[0], nil
}

// Waiting is a device that holds its restore open.
type Waiting struct {
	RollEntry
	// LastSeenBefore is when the device was last seen before the restore, and LastSeen when it was since; nil if never.
	LastSeenBefore *time.Time `db:"last_seen_before" json:"lastSeenBefore,omitempty"`
	LastSeen       *time.Time `db:"last_seen" json:"lastSeen,omitempty"`
}

// LongestWaiting reads who holds a restore open, the longest wait first. Of devices that have waited equally long the
// one that was last seen earliest before the restore comes first, and before it one that was never seen. limit is how
// many at most; 0 or less is all.
func (s *Store) LongestWaiting(ctx context.Context, restoreID string, limit int) ([]Waiting, error) {
	return s.LongestWaitingIn(ctx, restoreID, "", limit)
}

// LongestWaitingIn is LongestWaiting of one organisation's devices; an empty orgID is all.
func (s *Store) LongestWaitingIn(ctx context.Context, restoreID, orgID string, limit int) ([]Waiting, error) {
	return s.waiting(ctx, restoreID, orgID, limit, `state in ('AwaitingReconnect', 'ConflictPaused')`,
		"r.since, r.last_seen_before nulls first, r.seq")
}

// NewestConflictsIn reads which devices of a restore are paused, the one that was paused last first. An empty orgID is
// all organisations; a limit of 0 or less is all devices.
func (s *Store) NewestConflictsIn(ctx context.Context, restoreID, orgID string, limit int) ([]Waiting, error) {
	return s.waiting(ctx, restoreID, orgID, limit, `state = 'ConflictPaused'`, "r.since desc, r.seq")
}

// waiting reads who of those that which selects holds a restore open, in an order of columns of r.
func (s *Store) waiting(
	ctx context.Context, restoreID, orgID string, limit int, which, order string,
) ([]Waiting, error) {
	waiting := []Waiting{}
	err := s.db.SelectContext(ctx, &waiting, `
		select r.org_id, r.name, r.fleet, r.seq, r.state, r.restored_version, coalesce(r.reported_version,
		'') as reported_version,
			r.since, r.last_seen_before, seen.last_seen
		from (
			select * from rollcall.roll r
			where restore_id = $1 and `+which+` and not superseded
				and ($3 = '' or org_id = cast(nullif($3, '') as uuid))
			order by `+order+`
			limit nullif(greatest($2, 0), 0)) r
		left join device_timestamps seen on seen.org_id = r.org_id and seen.name = r.name
		order by `+order, restoreID, limit, orgID)
	if err != nil {
		return nil, fmt.Errorf("read who waits in restore %s: %w", restoreID, err)
	}
	for i := range waiting {
		waiting[i].Since = waiting[i].Since.UTC()
		waiting[i].LastSeenBefore, waiting[i].LastSeen = inUTC(waiting[i].LastSeenBefore), inUTC(waiting[i].LastSeen)
	}
	return waiting, nil
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}
