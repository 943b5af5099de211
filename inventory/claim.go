package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// ClaimInput names a wave of one of a restore's batches.
type ClaimInput struct {
	RestoreID string `json:"restoreId"`
	// Batch and Wave are numbers, from 0.
	Batch int `json:"batch"`
	Wave  int `json:"wave"`
	// Limit is how many devices the wave has at most.
	Limit int `json:"limit"`
}

// Claim gives the next devices on the roll to a wave, and returns them: those first that are there, because their
// report was noted or Flight Control has moved them, and then the others in the order of the roll. Repeated it returns
// the same devices. None is a roll on which nothing is left to claim. A restore that no longer runs is a *Refusal.
func (s *Store) Claim(ctx context.Context, in ClaimInput) ([]RollEntry, error) {
	var entries []RollEntry
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		// The lock lets one wave claim at a time.
		if _, err := lockRunning(ctx, tx, in.RestoreID); err != nil {
			return err
		}
		err := tx.SelectContext(ctx, &entries, selectEntries+`
			where r.restore_id = $1 and r.batch = $2 and r.wave = $3 order by r.seq`, in.RestoreID, in.Batch, in.Wave)
		if err != nil || len(entries) > 0 {
			return err
		}
		// Who is locked is being noted, and is claimed by a later wave, unless no one else is left.
		for _, locked := range []string{"skip locked", ""} {
			var left bool
			if entries, left, err = in.claim(ctx, tx, locked); err != nil || len(entries) > 0 || !left {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim wave %d of batch %d of restore %s: %w", in.Wave, in.Batch, in.RestoreID, err)
	}
	for i := range entries {
		entries[i].Since = entries[i].Since.UTC()
	}
	return entries, nil
}

// unclaimed selects devices that wait and that no batch has claimed.
const unclaimed = `
    select r.org_id, r.name, r.seq from rollcall.roll r
    where r.restore_id = $1 and r.batch is null
      and r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded`

// claimWave goes through the roll from where nothing before is left to claim. A device that is noted while it is
// claimed is left to a later wave.
const claimWave = `
with there as materialized (` + unclaimed + ` and r.noted_version is not null
    order by r.seq limit $4 for no key update of r %[1]s
), others as materialized (` + unclaimed + ` and r.noted_version is null
    and r.seq >= (select s.claim_from from rollcall.restores s where s.id = $1)
    order by r.seq limit $4 - (select count(*) from there) for no key update of r %[1]s
), claimed as (
    update rollcall.roll r set batch = $2, wave = $3, carried_version = r.noted_version
    from (select * from there union all select * from others) c
    where r.restore_id = $1 and r.org_id = c.org_id and r.name = c.name
    returning r.*
)` + entryColumns + `from claimed r order by r.seq`

// moveOn sets claim_from to the first device that is left to claim.
const moveOn = `
with next as (` + unclaimed + `
      and r.seq >= (select s.claim_from from rollcall.restores s where s.id = $1)
    order by r.seq limit 1
), moved as (
    update rollcall.restores s set claim_from = n.seq from next n where s.id = $1 and s.claim_from < n.seq
)
select exists (select from next)`

func (in ClaimInput) claim(
	ctx context.Context, tx *sqlx.Tx, locked string,
) (entries []RollEntry, left bool, err error) {
	query := fmt.Sprintf(claimWave, locked)
	if err := tx.SelectContext(ctx, &entries, query, in.RestoreID, in.Batch, in.Wave, in.Limit); err != nil {
		return nil, false, fmt.Errorf("claim the next devices: %w", err)
	}
	if err := tx.GetContext(ctx, &left, moveOn, in.RestoreID); err != nil {
		return nil, false, fmt.Errorf("look for who is left: %w", err)
	}
	return entries, left, nil
}

// BatchEntries is what a batch has claimed.
type BatchEntries struct {
	// Open are the devices that still hold the restore open, in the order of the roll.
	Open []RollEntry
	// Claimed is how many devices the batch has claimed in all, and NextWave the number of its next wave.
	Claimed, NextWave int
}

// BatchEntries reads what a batch has claimed so far, in one moment.
func (s *Store) BatchEntries(ctx context.Context, restoreID string, batch int) (BatchEntries, error) {
	var rows []struct {
		RollEntry
		Wave int  `db:"wave"`
		Open bool `db:"open"`
	}
	err := s.db.SelectContext(ctx, &rows, entryColumns+`, r.wave,
			r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded as open
		from rollcall.roll r where r.restore_id = $1 and r.batch = $2 order by r.seq`, restoreID, batch)
	if err != nil {
		return BatchEntries{}, fmt.Errorf("read what batch %d of restore %s has claimed: %w", batch, restoreID, err)
	}
	found := BatchEntries{Open: []RollEntry{}, Claimed: len(rows)}
	for _, row := range rows {
		found.NextWave = max(found.NextWave, row.Wave+1)
		if row.Open {
			row.Since = row.Since.UTC()
			found.Open = append(found.Open, row.RollEntry)
		}
	}
	return found, nil
}

// BeginWaves has the devices on a restore's roll claimed by its batches; batches is how many there are. Those that wait
// and that belong to another batch may be claimed again: the restore was taken up again with fewer of them, or they had
// joined late. A restore that no longer runs is a *Refusal.
func (s *Store) BeginWaves(ctx context.Context, restoreID string, batches int) error {
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := lockRunning(ctx, tx, restoreID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `update rollcall.restores set by_wave = true, claim_from = 0 where id = $1`, restoreID)
		if err != nil {
			return fmt.Errorf("write that it goes by waves: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			update rollcall.roll r set batch = null, wave = null, carried_version = null
			where r.restore_id = $1 and (r.batch >= $2 or r.batch = $3) and r.state in ($4, $5) and not r.superseded`,
			restoreID, batches, runbook.LateBatch, runbook.StateAwaitingReconnect, runbook.StateConflictPaused)
		if err != nil {
			return fmt.Errorf("release the devices of other batches: %w", err)
		}
		// A status that was put before the restore was cancelled may be older than what the device runs by now.
		_, err = tx.ExecContext(ctx, `
			update rollcall.roll set status_version = null, status_at = null where restore_id = $1 and status_at is not null`,
			restoreID)
		if err != nil {
			return fmt.Errorf("forget what statuses have said: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("begin the waves of restore %s: %w", restoreID, err)
	}
	return nil
}

// CallFirst has devices claimed before others, without a report: Flight Control has moved them, or they are gone. It
// passes over those that were claimed meanwhile.
func (s *Store) CallFirst(ctx context.Context, restoreID string, devices []PendingSignal) error {
	orgs, names := make(pq.StringArray, len(devices)), make(pq.StringArray, len(devices))
	for i, d := range devices {
		orgs[i], names[i] = d.OrgID, d.Name
	}
	_, err := s.db.ExecContext(ctx, `
		with found as materialized (
			select r.org_id, r.name from unnest(cast($2 as uuid[]), cast($3 as text[])) as s(org_id, name)
			join rollcall.roll r on r.org_id = s.org_id and r.name = s.name and r.restore_id = $1
			where r.batch is null and r.noted_version is null
			order by r.name for no key update of r
		)
		update rollcall.roll r set noted_version = ''
		from found f where r.restore_id = $1 and r.org_id = f.org_id and r.name = f.name`,
		restoreID, orgs, names)
	if err != nil {
		return fmt.Errorf("have %d devices of restore %s called first: %w", len(devices), restoreID, err)
	}
	return nil
}
