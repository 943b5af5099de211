package inventory

import (
	"context"
	"fmt"
	"time"

	"rollcall/runbook"
)

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
}

const selectEntries = `
select r.org_id, r.name, r.fleet, r.seq, r.state, r.restored_version, coalesce(r.reported_version, '') as reported_version, r.since
from rollcall.roll r `

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

// WaitingEntry reads a device's place on the roll while it holds that restore open; nil where it does not: it has left the
// roll call, a newer restore has it, or the restore has ended.
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
