package activities

import (
	"context"
	"time"

	"rollcall/runbook"
)

// OpenEntriesInput names a slice of a restore's roll.
type OpenEntriesInput struct {
	RestoreID string        `json:"restoreId"`
	Slice     runbook.Slice `json:"slice"`
}

// RollEntry is a device on the roll that has not ended, as the database holds it. The names on the wire are short, because
// a batch's list is kept in its history.
type RollEntry struct {
	OrgID    string        `json:"org"`
	Name     string        `json:"name"`
	Fleet    string        `json:"fleet,omitempty"`
	Seq      int64         `json:"seq"`
	State    runbook.State `json:"state"`
	Restored string        `json:"restored,omitempty"`
	Reported string        `json:"reported,omitempty"`
	Since    time.Time     `json:"since"`
}

// OpenEntriesResult lists the devices of the slice that still hold the restore open, in the order of the roll.
type OpenEntriesResult struct {
	Entries []RollEntry `json:"entries"`
}

// OpenEntries reads who on a slice of the roll is still waited for, and in which state.
func (a *Activities) OpenEntries(ctx context.Context, in OpenEntriesInput) (OpenEntriesResult, error) {
	rows, err := a.Inventory.OpenEntries(ctx, in.RestoreID, in.Slice)
	if err != nil {
		return OpenEntriesResult{}, failure(err)
	}
	entries := make([]RollEntry, len(rows))
	for i, row := range rows {
		entries[i] = RollEntry(row)
	}
	return OpenEntriesResult{Entries: entries}, nil
}
