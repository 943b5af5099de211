package inventory

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory/pgdial"
	"rollcall/runbook"
)

// errIncomplete is a roll that cannot be finished, because someone is missing.
var errIncomplete = errors.New("devices or requests are missing on the roll")

// FinishRoll ends the making of a restore's roll: it fixes the total and tells of it in one event. It returns the
// total, and repeated the same total. A restore that no longer runs and whose roll is not finished is a *Refusal.
//
// Whoever made the roll part by part knows where each part ended, and not whether PostgreSQL, after a failover, still
// has what it wrote. So the transaction that finishes the roll sees that no one is missing: what it sees is in the
// database if its own commit is. Those that are missing are put on the roll first.
func (s *Store) FinishRoll(ctx context.Context, restoreID string) (int64, error) {
	total, err := s.finishRoll(ctx, restoreID)
	for errors.Is(err, errIncomplete) {
		if err = s.sweepRoll(ctx, restoreID); err == nil {
			total, err = s.finishRoll(ctx, restoreID)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("finish the roll of restore %s: %w", restoreID, err)
	}
	return total, nil
}

func (s *Store) finishRoll(ctx context.Context, restoreID string) (total int64, err error) {
	err = s.inTxWithin(ctx, pgdial.RollPart, func(tx *sqlx.Tx) error {
		r, err := lockRestore(ctx, tx, restoreID)
		if err != nil {
			return err
		}
		if r != nil && r.RolledAt != nil {
			total = r.Total
			return nil
		}
		if r, err = lockRunning(ctx, tx, restoreID); err != nil {
			return err
		}
		if err := r.isComplete(ctx, tx); err != nil {
			return err
		}
		err = tx.GetContext(ctx, &total, `
			update rollcall.restores set rolled_at = now(), total = (select count(*) from rollcall.roll where restore_id = $1)
			where id = $1 returning total`, restoreID)
		if err != nil {
			return fmt.Errorf("write the total: %w", err)
		}
		return restoredEvent(r.OrgID, restoreID, r.OpenedBy, total).write(ctx, tx)
	})
	return total, err
}

// selectMissing reads devices that are to be on the roll of restore $1, and are on it not. One that was made since the
// restore began was not in the backup. Who is not on the roll is found first, from the index by device: the status of
// the others need not be read.
const selectMissing = `
with missing as materialized (
    select d.org_id, d.name from devices d
    where ($2 = '' or d.org_id = cast(nullif($2, '') as uuid))
      and not exists (select from rollcall.roll r where r.org_id = d.org_id and r.name = d.name and r.restore_id = $1)
)
select d.org_id, d.name from missing m join devices d on d.org_id = m.org_id and d.name = m.name
where ` + eligible + `
  and coalesce(d.created_at < (select s.started_at from rollcall.restores s where s.id = $1), true)
order by d.org_id, d.name limit $4`

const selectUnmarked = `
select exists (select from enrollment_requests e where ($2 = '' or e.org_id = cast(nullif($2, '') as uuid))
  and ` + unapproved + ` and e.created_at < (select s.started_at from rollcall.restores s where s.id = $1)
  and coalesce(not e.annotations @> '{"device-controller/awaitingReconnect": "true"}', true))`

// RollIsMade reports whether the roll of a restore was finished, or there is no such restore.
func (s *Store) RollIsMade(ctx context.Context, restoreID string) (made bool, err error) {
	err = s.db.GetContext(ctx, &made,
		`select not exists (select from rollcall.restores where id = $1 and rolled_at is null)`, restoreID)
	if err != nil {
		return false, fmt.Errorf("look whether the roll of restore %s is made: %w", restoreID, err)
	}
	return made, nil
}

// isComplete returns errIncomplete where a device or a request of the backup is missing.
func (r restore) isComplete(ctx context.Context, tx *sqlx.Tx) error {
	missing, err := r.missing(ctx, tx, 1)
	if err != nil {
		return err
	}
	var unmarked bool
	if err := tx.GetContext(ctx, &unmarked, selectUnmarked, r.ID, r.OrgID); err != nil {
		return fmt.Errorf("look for requests that are not marked: %w", err)
	}
	if len(missing) > 0 || unmarked {
		return errIncomplete
	}
	return nil
}

// Device names a device.
type Device struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
}

func (r restore) missing(ctx context.Context, db sqlx.QueryerContext, limit int) (missing []Device, err error) {
	err = sqlx.SelectContext(ctx, db, &missing, selectMissing, r.ID, r.OrgID, ineligible, limit)
	if err != nil {
		return nil, fmt.Errorf("look for devices that are not on the roll: %w", err)
	}
	return missing, nil
}

// sweepRoll goes through all devices and requests by name, and puts those on the roll that are missing.
func (s *Store) sweepRoll(ctx context.Context, restoreID string) error {
	for _, put := range []func(context.Context, RollInput) (RollResult, error){s.sweepOn, s.AnnotateRequests} {
		for in, done := (RollInput{RestoreID: restoreID}), false; !done; {
			result, err := put(ctx, in)
			if err != nil {
				return err
			}
			in, done = result.Next(in), result.Done
		}
	}
	return nil
}

// sweepOn is PutOnRoll by name, through windows of a roll that is nearly made.
func (s *Store) sweepOn(ctx context.Context, in RollInput) (RollResult, error) {
	if in.first() {
		in.FromPage, in.ToPage, in.AfterOrg = 1, 1, runbook.DefaultOrgID
	}
	return s.PutOnRoll(ctx, in)
}

// Missing reads devices of the backup that are to be on the roll of a restore whose roll is made, and are on it not;
// limit is how many at most. A restore that does not run, or whose roll is not made, misses none.
func Missing(ctx context.Context, db sqlx.QueryerContext, restoreID string, limit int) ([]Device, error) {
	var rolled []restore
	err := sqlx.SelectContext(ctx, db, &rolled, selectRestore+`where id = $1 and state = $2 and rolled_at is not null`,
		restoreID, runbook.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("read restore %s: %w", restoreID, err)
	}
	if len(rolled) == 0 {
		return nil, nil
	}
	return rolled[0].missing(ctx, db, limit)
}
