package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/runbook"
)

// TransitionRow is an entry of the audit: a transition of a device, or a message that was refused.
type TransitionRow struct {
	RestoreID  string             `db:"restore_id" json:"restoreId"`
	OrgID      string             `db:"org_id" json:"orgId"`
	Name       string             `db:"name" json:"name"`
	At         time.Time          `db:"at" json:"at"`
	Transition runbook.Transition `db:"transition" json:"transition"`
	From       runbook.State      `db:"from_state" json:"from,omitempty"`
	To         runbook.State      `db:"to_state" json:"to,omitempty"`
	Restored   string             `db:"restored_version" json:"restoredVersion,omitempty"`
	Reported   string             `db:"reported_version" json:"reportedVersion,omitempty"`
	// Next is the version that a resume renders.
	Next string `db:"next_version" json:"nextVersion,omitempty"`
	// Signal is the message that asked for it; empty for T1.
	Signal string `db:"signal" json:"signal,omitempty"`
	Actor  string `db:"actor" json:"actor,omitempty"`
	Reason string `db:"reason" json:"reason,omitempty"`
	// Code and Message say why a message was refused.
	Code    runbook.Code `db:"code" json:"code,omitempty"`
	Message string       `db:"message" json:"message,omitempty"`
}

// Transitions reads the audit of a device over all restores, the newest entry last. limit is how many to read at most,
// the newest ones; 0 and less is no limit. A device that was never on a roll has none, which is no error.
func (s *Store) Transitions(ctx context.Context, orgID, name string, limit int) ([]TransitionRow, error) {
	query := `select restore_id, org_id, name, at, transition,
  from_state, to_state, restored_version, reported_version, next_version, signal, actor, reason, code, message
from rollcall.transitions
where org_id = $1 and name = $2
order by id desc`
	args := []any{orgID, name}
	if limit > 0 {
		query += "\nLIMIT $3"
		args = append(args, limit)
	}
	var rows []TransitionRow
	if err := s.db.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read the transitions of device %s: %w", name, err)
	}
	slices.Reverse(rows)
	return rows, nil
}
