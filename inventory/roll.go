package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// MaxRollSize is how many rows one transaction of a roll changes at most, so that none holds its locks for long, on any
// size of fleet. More at a time cost as much each; this many leave a transaction that also sorts a GIN list in (bulk) below a
// second.
const MaxRollSize = 1250

// RollInput asks for the next part of a roll: what comes after a device or request, in the order of organisation and name.
type RollInput struct {
	RestoreID string `json:"restoreId"`
	// AfterOrg and AfterName are the LastOrg and LastName of the part before; both empty is the first part.
	AfterOrg  string `json:"afterOrg,omitempty"`
	AfterName string `json:"afterName,omitempty"`
	// Limit is how many at most; 0 or less, and more than MaxRollSize, are MaxRollSize.
	Limit int `json:"limit,omitempty"`
}

// RollResult is what became of one part.
type RollResult struct {
	// Put is the number of devices or requests of this part; those that an earlier attempt had put there are counted too.
	Put int `json:"put"`
	// LastOrg and LastName are where the next part begins after.
	LastOrg  string `json:"lastOrg,omitempty"`
	LastName string `json:"lastName,omitempty"`
	// Done tells that nothing comes after.
	Done bool `json:"done"`
}

func (in RollInput) limit() int {
	if in.Limit <= 0 || in.Limit > MaxRollSize {
		return MaxRollSize
	}
	return in.Limit
}

// after is the position in the order of organisation and name; the first organisation is all zeros, and no name is empty.
func (in RollInput) after() (orgID, name string) {
	if in.AfterOrg == "" {
		return runbook.DefaultOrgID, ""
	}
	return in.AfterOrg, in.AfterName
}

// PutOnRoll puts the next eligible devices on a restore's roll (T1), in one transaction. Repeated it leaves those that are
// on the roll as they are, so that it may start over after a crash, at any point. Once FinishRoll was called there is
// nothing left to put. A restore that no longer runs is a *Refusal.
func (s *Store) PutOnRoll(ctx context.Context, in RollInput) (RollResult, error) {
	var result RollResult
	err := s.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		r, err := lockRunning(ctx, tx, in.RestoreID)
		if err != nil {
			return err
		}
		if r.RolledAt != nil {
			result.Done = true
			return nil
		}
		result, err = r.putOnRoll(ctx, tx, in)
		return err
	})
	if err != nil {
		return RollResult{}, fmt.Errorf("put devices on the roll of restore %s: %w", in.RestoreID, err)
	}
	return result, nil
}

// page is what the statement that fills a part of the roll says about it.
type page struct {
	Size     int    `db:"size"`
	LastOrg  string `db:"last_org"`
	LastName string `db:"last_name"`
}

func (p page) result(limit int) RollResult {
	return RollResult{Put: p.Size, LastOrg: p.LastOrg, LastName: p.LastName, Done: p.Size < limit}
}

func (r restore) putOnRoll(ctx context.Context, tx *sqlx.Tx, in RollInput) (RollResult, error) {
	if _, err := tx.ExecContext(ctx, bulk); err != nil {
		return RollResult{}, fmt.Errorf("prepare to write the roll: %w", err)
	}
	orgID, name := in.after()
	var p page
	err := tx.GetContext(ctx, &p, fillRoll, r.ID, orgID, name, r.OrgID, ineligible, in.limit(),
		runbook.AnnotationRenderedVersion, runbook.StateAwaitingReconnect, runbook.T1, r.OpenedBy)
	if err != nil {
		return RollResult{}, fmt.Errorf("write the roll: %w", err)
	}
	return p.result(in.limit()), nil
}

// FinishRoll ends the making of a restore's roll: it fixes the total and tells of it in one event. It returns the total,
// and repeated the same total. A restore that no longer runs and whose roll is not finished is a *Refusal.
func (s *Store) FinishRoll(ctx context.Context, restoreID string) (int64, error) {
	var total int64
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
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
		err = tx.GetContext(ctx, &total, `
			update rollcall.restores set rolled_at = now(), total = (select count(*) from rollcall.roll where restore_id = $1)
			where id = $1 returning total`, restoreID)
		if err != nil {
			return fmt.Errorf("write the total: %w", err)
		}
		return restoredEvent(r.OrgID, restoreID, r.OpenedBy, total).write(ctx, tx)
	})
	if err != nil {
		return 0, fmt.Errorf("finish the roll of restore %s: %w", restoreID, err)
	}
	return total, nil
}
