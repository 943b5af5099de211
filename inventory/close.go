package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// CloseRestoreInput ends a restore.
type CloseRestoreInput struct {
	RestoreID string `json:"restoreId"`
	// State is RestoreCompleted or RestoreCancelled.
	State  runbook.RestoreState `json:"state"`
	By     string               `json:"by,omitempty"`
	Reason string               `json:"reason,omitempty"`
}

// CloseRestore ends a running restore and returns its tally; of one that has ended already it returns the tally and
// changes nothing, however that ended. It completes only once its roll is made (else a *Refusal with CodeFailed) and nobody
// on it waits (else one with CodeDevicesWaiting, until the last of those who joined late has ended). Cancelling leaves the devices as they are, and the restore may be opened again.
func (s *Store) CloseRestore(ctx context.Context, in CloseRestoreInput) (runbook.RestoreStatus, error) {
	if in.State != runbook.RestoreCompleted && in.State != runbook.RestoreCancelled {
		return runbook.RestoreStatus{}, runbook.Refuse(runbook.CodeInvalidRequest, "a restore is closed as %s or %s, not as %q", runbook.RestoreCompleted, runbook.RestoreCancelled, in.State)
	}
	var status runbook.RestoreStatus
	err := s.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		r, err := lockRestore(ctx, tx, in.RestoreID)
		if err != nil {
			return err
		}
		if r != nil && r.State == runbook.RestoreRunning {
			if err := r.end(ctx, tx, in); err != nil {
				return err
			}
		}
		status, err = restoreStatus(ctx, tx, in.RestoreID)
		return err
	})
	if err != nil {
		return runbook.RestoreStatus{}, fmt.Errorf("close restore %s: %w", in.RestoreID, err)
	}
	return status, nil
}

func (r restore) end(ctx context.Context, tx *sqlx.Tx, in CloseRestoreInput) error {
	if in.State == runbook.RestoreCompleted {
		if err := r.mayComplete(ctx, tx); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `update rollcall.restores set state = $2, finished_at = now(), closed_by = $3, reason = $4 where id = $1`,
		r.ID, in.State, in.By, in.Reason)
	if err != nil {
		return fmt.Errorf("write its end: %w", err)
	}
	return nil
}

func (r restore) mayComplete(ctx context.Context, tx *sqlx.Tx) error {
	if r.RolledAt == nil {
		return runbook.Refuse(runbook.CodeFailed, "restore %s has not put all its devices on the roll yet", r.ID)
	}
	var waiting int64
	err := tx.GetContext(ctx, &waiting, `select count(*) from rollcall.roll where restore_id = $1 and state in ($2, $3)`,
		r.ID, runbook.StateAwaitingReconnect, runbook.StateConflictPaused)
	if err != nil {
		return fmt.Errorf("count who waits: %w", err)
	}
	if waiting > 0 {
		return runbook.Refuse(runbook.CodeDevicesWaiting, "%d devices of restore %s still wait", waiting, r.ID)
	}
	return nil
}
