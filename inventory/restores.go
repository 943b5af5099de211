package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// restoreLock is the key of the advisory lock that lets one restore open at a time.
const restoreLock = 0x726f6c6c0002

// OpenRestoreInput opens a restore.
type OpenRestoreInput struct {
	ID string `json:"id"`
	// OrgID limits it to one organisation, by UUID; empty is all of them.
	OrgID string `json:"orgId,omitempty"`
	// Supersede lets it take over from those that still run (T6); without it they are a reason to refuse.
	Supersede bool `json:"supersede,omitempty"`
	// By is who opens it.
	By string `json:"by,omitempty"`
}

// OpenRestoreResult is an open restore.
type OpenRestoreResult struct {
	StartedAt time.Time `json:"startedAt"`
	// Superseded are the ids of the restores that it has taken over from, the oldest first.
	Superseded []string `json:"superseded,omitempty"`
	// TakenUp tells that the restore was there before, running or cancelled, and goes on.
	TakenUp bool `json:"takenUp,omitempty"`
}

// OpenRestore opens a restore or takes it up again; repeated it returns the same. Restores of different organisations may
// run side by side; one of all organisations meets every other. A *Refusal is CodeRestoreRunning where it meets one and
// may not supersede, CodeScopeMismatch where it would supersede more than it restores or goes by an id of another scope,
// CodeRestoreEnded where its id is one that has ended for good, CodeNotFound for an unknown organisation, and
// CodeInvalidRequest for an id that cannot be used.
func (s *Store) OpenRestore(ctx context.Context, in OpenRestoreInput) (OpenRestoreResult, error) {
	if err := runbook.CheckRestoreID(in.ID); err != nil {
		return OpenRestoreResult{}, err
	}
	var result OpenRestoreResult
	err := s.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, restoreLock); err != nil {
			return fmt.Errorf("wait for another restore that opens: %w", err)
		}
		result, err = openRestore(ctx, tx, in)
		return err
	})
	if err != nil {
		return OpenRestoreResult{}, fmt.Errorf("open restore %s: %w", in.ID, err)
	}
	return result, nil
}

func openRestore(ctx context.Context, tx *sqlx.Tx, in OpenRestoreInput) (OpenRestoreResult, error) {
	own, err := lockRestore(ctx, tx, in.ID)
	if err != nil {
		return OpenRestoreResult{}, err
	}
	if own != nil {
		if err := own.mayTakeUp(ctx, tx, in); err != nil {
			return OpenRestoreResult{}, err
		}
	} else if in.OrgID != "" {
		if err := organizationExists(ctx, tx, in.OrgID); err != nil {
			return OpenRestoreResult{}, err
		}
	}
	if own == nil || own.State != runbook.RestoreRunning {
		if err := takeOver(ctx, tx, in); err != nil {
			return OpenRestoreResult{}, err
		}
	}
	result := OpenRestoreResult{TakenUp: own != nil}
	if err := tx.GetContext(ctx, &result.StartedAt, upsertRestore, in.ID, in.OrgID, in.By, runbook.RestoreRunning); err != nil {
		return OpenRestoreResult{}, fmt.Errorf("write the restore: %w", err)
	}
	result.StartedAt = result.StartedAt.UTC()
	err = tx.SelectContext(ctx, &result.Superseded, `select id from rollcall.restores where superseded_by = $1 order by started_at, id`, in.ID)
	if err != nil {
		return OpenRestoreResult{}, fmt.Errorf("read what it has superseded: %w", err)
	}
	return result, nil
}

const upsertRestore = `
insert into rollcall.restores as s (id, org_id, opened_by, state) values ($1, cast(nullif($2, '') as uuid), $3, $4)
on conflict (id) do update set state = excluded.state, finished_at = null, closed_by = '', reason = ''
returning started_at`

// restore is a row of the restores, locked.
type restore struct {
	ID           string               `db:"id"`
	OrgID        string               `db:"org_id"`
	State        runbook.RestoreState `db:"state"`
	RolledAt     *time.Time           `db:"rolled_at"`
	Total        int64                `db:"total"`
	OpenedBy     string               `db:"opened_by"`
	SupersededBy string               `db:"superseded_by"`
}

const selectRestore = `
select id, coalesce(cast(org_id as text), '') as org_id, state, rolled_at, total, opened_by, coalesce(superseded_by, '') as superseded_by
from rollcall.restores `

// lockRestore locks a restore and reads it; nil where there is none.
func lockRestore(ctx context.Context, tx *sqlx.Tx, id string) (*restore, error) {
	var r restore
	err := tx.GetContext(ctx, &r, selectRestore+`where id = $1 for no key update`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock the restore: %w", err)
	}
	return &r, nil
}

// lockRunning locks a restore that must still be the current one; otherwise the error is a *Refusal.
func lockRunning(ctx context.Context, tx *sqlx.Tx, id string) (*restore, error) {
	r, err := lockRestore(ctx, tx, id)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, runbook.Refuse(runbook.CodeNotFound, "there is no restore %s", id)
	case r.State == runbook.RestoreSuperseded:
		return nil, runbook.Refuse(runbook.CodeSuperseded, "restore %s has been superseded%s", id, byRestore(r.SupersededBy))
	case r.State != runbook.RestoreRunning:
		return nil, runbook.Refuse(runbook.CodeRestoreEnded, "restore %s is %s", id, r.State)
	}
	return r, nil
}

// RestoreStateOf tells where a restore stands; an unknown one is a *Refusal with CodeNotFound.
func (s *Store) RestoreStateOf(ctx context.Context, restoreID string) (runbook.RestoreState, error) {
	var state runbook.RestoreState
	err := s.db.GetContext(ctx, &state, `select state from rollcall.restores where id = $1`, restoreID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", runbook.Refuse(runbook.CodeNotFound, "there is no restore %s", restoreID)
	}
	if err != nil {
		return "", fmt.Errorf("read restore %s: %w", restoreID, err)
	}
	return state, nil
}
