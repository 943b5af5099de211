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

// record is an entry of the audit as it is written and read back: what a message did, or why it was refused.
type record struct {
	target
	Transition runbook.Transition `db:"transition"`
	From       runbook.State      `db:"from_state"`
	To         runbook.State      `db:"to_state"`
	Restored   string             `db:"restored_version"`
	Reported   string             `db:"reported_version"`
	Next       string             `db:"next_version"`
	Signal     string             `db:"signal"`
	Actor      string             `db:"actor"`
	Reason     string             `db:"reason"`
	Code       runbook.Code       `db:"code"`
	Message    string             `db:"message"`
	RequestID  string             `db:"request_id"`
	At         time.Time          `db:"at"`
}

// A request that is recorded already stays as it was first answered.
const insertRecord = `
insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version, reported_version,
    next_version, signal, actor, reason, code, message, request_id)
values (:restore_id, :org_id, :name, :transition, :from_state, :to_state, :restored_version, :reported_version,
    :next_version, :signal, :actor, :reason, :code, :message, nullif(:request_id, ''))
on conflict (restore_id, org_id, name, request_id) where request_id is not null do nothing`

const selectRecord = `
select restore_id, org_id, name, transition, from_state, to_state, restored_version, reported_version,
    next_version, signal, actor, reason, code, message, coalesce(request_id, '') as request_id, at
from rollcall.transitions where restore_id = $1 and org_id = $2 and name = $3 `

// write adds r to the audit.
func (r record) write(ctx context.Context, db sqlx.ExtContext) error {
	if _, err := sqlx.NamedExecContext(ctx, db, insertRecord, r); err != nil {
		return fmt.Errorf("write to the audit: %w", err)
	}
	return nil
}

// readRequest finds what a request was answered with, if it was; an empty id is none.
func readRequest(ctx context.Context, tx *sqlx.Tx, t target, requestID string) (*record, error) {
	if requestID == "" {
		return nil, nil
	}
	return readRecord(ctx, tx, selectRecord+`and request_id = $4`, t, requestID)
}

// readEnding finds what ended a device's part in a restore, if anything did.
func readEnding(ctx context.Context, tx *sqlx.Tx, t target) (*record, error) {
	return readRecord(ctx, tx, selectRecord+`and transition in ($4, $5, $6) order by id desc limit 1`, t, runbook.T2, runbook.T4, runbook.T5)
}

func readRecord(ctx context.Context, tx *sqlx.Tx, query string, t target, args ...any) (*record, error) {
	var r record
	err := tx.GetContext(ctx, &r, query, append([]any{t.RestoreID, t.OrgID, t.Name}, args...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return &r, nil
}

// result is what the record was answered with; applied tells whether to say that it moved the device.
func (r record) result(applied bool) Transitioned {
	t := Transitioned{
		Applied: applied, Transition: r.Transition, State: r.To, Restored: r.Restored, Reported: r.Reported, Next: r.Next,
		Updated: updatedBy(r.Transition, r.Restored, r.Reported), At: r.At.UTC(),
	}
	if r.Actor != ActorService {
		t.By, t.Reason = r.Actor, r.Reason
	}
	if r.Code != "" {
		t.Applied, t.Refusal = false, &runbook.Refusal{Code: r.Code, Message: r.Message}
	}
	return t
}

// updatedBy is the status.updated.status that a reconnect wrote, decided again from what it was decided on.
func updatedBy(t runbook.Transition, restored, reported string) string {
	if t != runbook.T2 && t != runbook.T3 {
		return ""
	}
	d, err := runbook.DecideReconnect(restored, reported)
	if err != nil {
		return ""
	}
	return d.Updated
}
