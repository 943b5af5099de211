package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// mayTakeUp tells whether a restore that is there may go on under the input that asks for it.
func (r restore) mayTakeUp(ctx context.Context, tx *sqlx.Tx, in OpenRestoreInput) error {
	switch {
	case r.State == runbook.RestoreCompleted:
		return runbook.Refuse(runbook.CodeRestoreEnded, "restore %s is complete; start the next one under another id", r.ID)
	case r.State == runbook.RestoreSuperseded:
		return runbook.Refuse(runbook.CodeRestoreEnded, "restore %s has been superseded%s; start the next one under another id", r.ID, byRestore(r.SupersededBy))
	case !strings.EqualFold(r.OrgID, in.OrgID):
		return runbook.Refuse(runbook.CodeScopeMismatch, "restore %s is of %s, not of %s; take it up as that, or start one under another id", r.ID, scope(r.OrgID), scope(in.OrgID))
	}
	var overtaken bool
	err := tx.GetContext(ctx, &overtaken, `select exists (select from rollcall.roll where restore_id = $1 and superseded)`, r.ID)
	if err != nil {
		return fmt.Errorf("look for a newer restore of its devices: %w", err)
	}
	if overtaken {
		return runbook.Refuse(runbook.CodeRestoreEnded, "restore %s is cancelled, and a newer restore has put its devices on a roll since; start the next one under another id", r.ID)
	}
	return nil
}

// takeOver supersedes the running restores that the input's meets (T6), or refuses to.
func takeOver(ctx context.Context, tx *sqlx.Tx, in OpenRestoreInput) error {
	var running []restore
	err := tx.SelectContext(ctx, &running, selectRestore+`
		where state = $1 and id <> $2 and ($3 = '' or org_id is null or org_id = cast(nullif($3, '') as uuid))
		order by started_at, id for no key update`, runbook.RestoreRunning, in.ID, in.OrgID)
	if err != nil {
		return fmt.Errorf("look for restores that run: %w", err)
	}
	for _, other := range running {
		if err := other.mayBeSuperseded(in); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `update rollcall.restores set state = $2, superseded_by = $3, finished_at = now(), closed_by = $4 where id = $1`,
			other.ID, runbook.RestoreSuperseded, in.ID, in.By)
		if err != nil {
			return fmt.Errorf("supersede restore %s: %w", other.ID, err)
		}
	}
	return nil
}

func (r restore) mayBeSuperseded(in OpenRestoreInput) error {
	wider := r.OrgID == "" && in.OrgID != ""
	switch {
	case wider && in.Supersede:
		return runbook.Refuse(runbook.CodeScopeMismatch, "restore %s of %s still runs, and a restore of %s cannot take over all of its devices; restore all organisations with --supersede, or cancel it first", r.ID, scope(r.OrgID), scope(in.OrgID))
	case wider:
		return runbook.Refuse(runbook.CodeRestoreRunning, "restore %s of %s still runs; wait for it, or cancel it with `starter cancel %s --reason …`", r.ID, scope(r.OrgID), r.ID)
	case !in.Supersede:
		return runbook.Refuse(runbook.CodeRestoreRunning, "restore %s of %s still runs; wait for it, or take over from it with --supersede", r.ID, scope(r.OrgID))
	}
	return nil
}

func scope(orgID string) string {
	if orgID == "" {
		return "all organisations"
	}
	return "organisation " + runbook.OrgName(orgID)
}
