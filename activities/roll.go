package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// OpenEntriesInput names a slice of a restore's roll.
type OpenEntriesInput struct {
	RestoreID string        `json:"restoreId"`
	Slice     runbook.Slice `json:"slice"`
}

// RollEntry is a device on the roll that has not ended, as the database holds it. The names on the wire are short,
// because a batch's list is kept in its history.
type RollEntry struct {
	OrgID    string        `json:"org"`
	Name     string        `json:"name"`
	Fleet    string        `json:"fleet,omitempty"`
	Seq      int64         `json:"seq"`
	State    runbook.State `json:"state"`
	Restored string        `json:"restored,omitempty"`
	Reported string        `json:"reported,omitempty"`
	Since    time.Time     `json:"since"`
	Noted    string        `json:"noted,omitempty"`
	Look     bool          `json:"look,omitempty"`
	Batch    *int          `json:"-"`
	Mode     runbook.Mode  `json:"mode,omitempty"`
}

// OpenEntriesResult lists the devices of the slice that still hold the restore open, in the order of the roll.
type OpenEntriesResult struct {
	Entries []RollEntry `json:"entries"`
}

// OpenEntries reads who on a slice of the roll is still waited for, and in which state.
func (a *Activities) OpenEntries(ctx context.Context, in OpenEntriesInput) (OpenEntriesResult, error) {
	rows, err := a.Inventory.OpenEntries(ctx, in.RestoreID, in.Slice)
	if err != nil {
		return OpenEntriesResult{}, asActivityError(err)
	}
	return OpenEntriesResult{Entries: rollEntries(rows)}, nil
}

func rollEntries(rows []inventory.RollEntry) []RollEntry {
	entries := make([]RollEntry, len(rows))
	for i, row := range rows {
		entries[i] = RollEntry(row)
	}
	return entries
}

// BeginWavesInput says how many batches are going to claim the devices on a restore's roll.
type BeginWavesInput struct {
	RestoreID string `json:"restoreId"`
	Batches   int    `json:"batches"`
}

// BeginWaves has a restore's devices claimed by its batches, and releases those that are of other batches: the restore
// was taken up again.
func (a *Activities) BeginWaves(ctx context.Context, in BeginWavesInput) error {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return err
	}
	return asActivityError(a.Inventory.BeginWaves(ctx, in.RestoreID, in.Batches))
}

// BatchInput names a batch of a restore.
type BatchInput struct {
	RestoreID string `json:"restoreId"`
	Batch     int    `json:"batch"`
}

// BatchResult is what a batch has claimed so far: who of these is still waited for, how many they are in all, and the
// number of its next wave.
type BatchResult struct {
	Entries  []RollEntry `json:"entries"`
	Claimed  int         `json:"claimed"`
	NextWave int         `json:"nextWave"`
}

// BatchEntries reads what a batch has claimed so far.
func (a *Activities) BatchEntries(ctx context.Context, in BatchInput) (BatchResult, error) {
	found, err := a.Inventory.BatchEntries(ctx, in.RestoreID, in.Batch)
	if err != nil {
		return BatchResult{}, asActivityError(err)
	}
	return BatchResult{Entries: rollEntries(found.Open), Claimed: found.Claimed, NextWave: found.NextWave}, nil
}

// ClaimInput names a wave of a batch, which has at most Limit devices.
type ClaimInput struct {
	RestoreID string `json:"restoreId"`
	Batch     int    `json:"batch"`
	Wave      int    `json:"wave"`
	Limit     int    `json:"limit"`
}

// ClaimResult lists the devices of the wave; none is a roll on which nothing is left to claim.
type ClaimResult struct {
	Entries []RollEntry `json:"entries"`
}

// Claim gives the next devices on the roll to a wave, those first that are there. Repeated it returns the same devices.
func (a *Activities) Claim(ctx context.Context, in ClaimInput) (ClaimResult, error) {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return ClaimResult{}, err
	}
	rows, err := a.Inventory.Claim(ctx, inventory.ClaimInput(in))
	if err != nil {
		return ClaimResult{}, asActivityError(err)
	}
	return ClaimResult{Entries: rollEntries(rows)}, nil
}

// deviceAttributes are the search attributes of a device's workflow.
func deviceAttributes(restoreID string, entry inventory.RollEntry) temporal.SearchAttributes {
	return temporal.NewSearchAttributes(
		temporal.NewSearchAttributeKeyKeyword(runbook.AttributeDeviceStatus).ValueSet(string(entry.State)),
		temporal.NewSearchAttributeKeyKeyword(runbook.AttributeDeviceName).ValueSet(entry.Name),
		temporal.NewSearchAttributeKeyKeyword(runbook.AttributeFleet).ValueSet(entry.Fleet),
		temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID).ValueSet(restoreID),
	)
}
