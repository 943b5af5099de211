package inventory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
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
	// Mode is who answers its agents; empty is runbook.ModeStandalone. A restore that was open before keeps its own.
	Mode runbook.Mode `json:"mode,omitempty"`
	// All puts devices on the roll, too, that came back to a live Flight Control before the restore opened.
	All bool `json:"all,omitempty"`
}

// OpenRestoreResult is an open restore.
type OpenRestoreResult struct {
	StartedAt time.Time `json:"startedAt"`
	// Superseded are the ids of the restores that it has taken over from, the oldest first.
	Superseded []string `json:"superseded,omitempty"`
	// TakenUp tells that the restore was there before, running or cancelled, and goes on.
	TakenUp bool         `json:"takenUp,omitempty"`
	Mode    runbook.Mode `json:"mode,omitempty"`
	// WasRunning reports whether the database held it open before.
	WasRunning bool `json:"wasRunning,omitempty"`
}

// OpenRestore opens a restore or takes it up again; repeated it returns the same. Restores of different organisations
// may run side by side; one of all organisations meets every other. A *Refusal is CodeRestoreRunning where it meets one
// and may not supersede, CodeScopeMismatch where it would supersede more than it restores or goes by an id of another
// scope, CodeRestoreEnded where its id is one that has ended for good, CodeNotFound for an unknown organisation, and
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
	result := OpenRestoreResult{TakenUp: own != nil, WasRunning: own != nil && own.State == runbook.RestoreRunning}
	err = tx.QueryRowxContext(ctx, upsertRestore, in.ID, in.OrgID, in.By, runbook.RestoreRunning,
		cmp.Or(in.Mode, runbook.ModeStandalone), in.All).
		Scan(&result.StartedAt, &result.Mode)
	if err != nil {
		return OpenRestoreResult{}, fmt.Errorf("write the restore: %w", err)
	}
	result.StartedAt = result.StartedAt.UTC()
	err = tx.SelectContext(ctx, &result.Superseded,
		`select id from rollcall.restores where superseded_by = $1 order by started_at, id`, in.ID)
	if err != nil {
		return OpenRestoreResult{}, fmt.Errorf("read what it has superseded: %w", err)
	}
	return result, nil
}

// preparedAt is when flightctl-restore prepared the devices for a restore $1 of organisation $2, by its event. Such an
// event may come from the backup, and would then keep devices off the roll that no one has compared. So one counts only
// where it is younger than a day, and than each other restore of these devices: what came before such a restore was
// that one's preparation.
const preparedAt = `(select max(e.created_at) from events e
    where e.reason = 'SystemRestored' and coalesce(e.source_component, '') <> 'rollcall'
      and e.created_at > now() - interval '1 day'
      and e.created_at > all (select o.started_at from rollcall.restores o
        where o.id <> $1 and ($2 = '' or o.org_id is null or o.org_id = cast(nullif($2, '') as uuid))))`

// upsertRestore notes when flightctl-restore prepared the devices of a restore beside Flight Control.
//
// One that is opened claims its devices in waves from then on, also where an earlier release had begun it with slices.
const upsertRestore = `
insert into rollcall.restores as s (id, org_id, opened_by, state, by_wave, mode, prepared_at) values ($1,
cast(nullif($2, '') as uuid), $3, $4, true, $5, case when $5 = 'flightctl' and not $6 then ` + preparedAt + ` end)
on conflict (id) do update set state = excluded.state, by_wave = true, finished_at = null, closed_by = '', reason = ''
returning started_at, mode`

// RestoreMode reads the mode of a restore; empty where there is no such restore.
func (s *Store) RestoreMode(ctx context.Context, restoreID string) (mode runbook.Mode, err error) {
	err = s.db.GetContext(ctx, &mode, `select mode from rollcall.restores where id = $1`, restoreID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read the mode of restore %s: %w", restoreID, err)
	}
	return mode, nil
}

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
select id, coalesce(cast(org_id as text), '') as org_id, state, rolled_at, total, opened_by, coalesce(superseded_by,
'') as superseded_by
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

// RestoreStanding is where a restore stands, and which restore has taken over from it, if any.
type RestoreStanding struct {
	State        runbook.RestoreState `db:"state"`
	SupersededBy string               `db:"superseded_by"`
}

// RestoreStanding reads where a restore stands; an unknown one is a *Refusal with CodeNotFound.
func (s *Store) RestoreStanding(ctx context.Context, restoreID string) (standing RestoreStanding, err error) {
	err = s.db.GetContext(ctx, &standing,
		`select state, coalesce(superseded_by, '') as superseded_by from rollcall.restores where id = $1`, restoreID)
	if errors.Is(err, sql.ErrNoRows) {
		return standing, runbook.Refuse(runbook.CodeNotFound, "there is no restore %s", restoreID)
	}
	if err != nil {
		return standing, fmt.Errorf("read restore %s: %w", restoreID, err)
	}
	return standing, nil
}

// RestoreStateOf is the state of RestoreStanding.
func (s *Store) RestoreStateOf(ctx context.Context, restoreID string) (runbook.RestoreState, error) {
	standing, err := s.RestoreStanding(ctx, restoreID)
	return standing.State, err
}

// CloseRestoreInput ends a restore.
type CloseRestoreInput struct {
	RestoreID string `json:"restoreId"`
	// State is RestoreCompleted or RestoreCancelled.
	State  runbook.RestoreState `json:"state"`
	By     string               `json:"by,omitempty"`
	Reason string               `json:"reason,omitempty"`
}

// CloseRestore ends a running restore and returns its tally; of one that has ended already it returns the tally and
// changes nothing, however that ended. It completes only once its roll is made (else a *Refusal with CodeFailed) and no
// one on it waits (else one with CodeDevicesWaiting, until the last of those who joined late has ended). Cancelling
// leaves the devices as they are, and the restore may be opened again.
func (s *Store) CloseRestore(ctx context.Context, in CloseRestoreInput) (runbook.RestoreStatus, error) {
	if in.State != runbook.RestoreCompleted && in.State != runbook.RestoreCancelled {
		return runbook.RestoreStatus{},
			runbook.Refuse(runbook.CodeInvalidRequest, "a restore is closed as %s or %s, not as %q", runbook.RestoreCompleted,
				runbook.RestoreCancelled, in.State)
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
	_, err := tx.ExecContext(ctx, `update rollcall.restores set state = $2, finished_at = now(), closed_by = $3,
		reason = $4 where id = $1`,
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

// mayTakeUp reports whether a restore that is there may go on under the input that asks for it.
func (r restore) mayTakeUp(ctx context.Context, tx *sqlx.Tx, in OpenRestoreInput) error {
	switch {
	case r.State == runbook.RestoreCompleted:
		return runbook.Refuse(runbook.CodeRestoreEnded, "restore %s is complete; start the next one under another id", r.ID)
	case r.State == runbook.RestoreSuperseded:
		return runbook.Refuse(runbook.CodeRestoreEnded,
			"restore %s has been superseded%s; start the next one under another id", r.ID, byRestore(r.SupersededBy))
	case !strings.EqualFold(r.OrgID, in.OrgID):
		return runbook.Refuse(runbook.CodeScopeMismatch,
			"restore %s is of %s, not of %s; take it up as that, or start one under another id", r.ID, scope(r.OrgID),
			scope(in.OrgID))
	}
	var overtaken bool
	err := tx.GetContext(ctx, &overtaken, `select exists (select from rollcall.roll where restore_id = $1 and superseded)`,
		r.ID)
	if err != nil {
		return fmt.Errorf("look for a newer restore of its devices: %w", err)
	}
	if overtaken {
		return runbook.Refuse(runbook.CodeRestoreEnded,
			"restore %s is cancelled, and a newer restore has put its devices on a roll since; start the next one under "+
				"another id", r.ID)
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
		_, err := tx.ExecContext(ctx, `update rollcall.restores set state = $2, superseded_by = $3, finished_at = now(),
			closed_by = $4 where id = $1`,
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
		return runbook.Refuse(runbook.CodeScopeMismatch,
			"restore %s of %s still runs, and a restore of %s cannot take over all of its devices; restore all organisations "+
				"with --supersede, or cancel it first", r.ID, scope(r.OrgID), scope(in.OrgID))
	case wider:
		return runbook.Refuse(runbook.CodeRestoreRunning,
			"restore %s of %s still runs; wait for it, or cancel it with `starter cancel %s --reason …`", r.ID, scope(r.OrgID),
			r.ID)
	case !in.Supersede:
		return runbook.Refuse(runbook.CodeRestoreRunning,
			"restore %s of %s still runs; wait for it, or take over from it with --supersede", r.ID, scope(r.OrgID))
	}
	return nil
}

func scope(orgID string) string {
	if orgID == "" {
		return "all organisations"
	}
	return "organisation " + runbook.OrgName(orgID)
}
