package inventory

import (
	"context"
	"fmt"
	"time"
)

// Waiting is a device that holds its restore open.
type Waiting struct {
	RollEntry
	// LastSeenBefore is when the device was last seen before the restore; nil if never.
	LastSeenBefore *time.Time `db:"last_seen_before" json:"lastSeenBefore,omitempty"`
}

// LongestWaiting reads who holds a restore open, the stragglers first: those that have not reconnected, by when they were
// last seen before the restore (never comes first), then those that are paused, by when they were. limit is how many at most; 0 or
// less is all.
func (s *Store) LongestWaiting(ctx context.Context, restoreID string, limit int) ([]Waiting, error) {
	waiting := []Waiting{}
	err := s.db.SelectContext(ctx, &waiting, `
		select r.org_id, r.name, r.fleet, r.seq, r.state, r.restored_version, coalesce(r.reported_version, '') as reported_version,
			r.since, r.last_seen_before
		from rollcall.roll r
		where r.restore_id = $1 and r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded
		order by r.state, case when r.state = 'AwaitingReconnect' then r.last_seen_before else r.since end nulls first, r.seq
		limit nullif(greatest($2, 0), 0)`, restoreID, limit)
	if err != nil {
		return nil, fmt.Errorf("read who waits in restore %s: %w", restoreID, err)
	}
	for i := range waiting {
		waiting[i].Since = waiting[i].Since.UTC()
		if seen := waiting[i].LastSeenBefore; seen != nil {
			utc := seen.UTC()
			waiting[i].LastSeenBefore = &utc
		}
	}
	return waiting, nil
}
