package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

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
	Who
}

// Who says, beside the name of who acted, how a person is known, through what they acted, and by which decision.
type Who struct {
	// Identity is empty for agents, for services and for a person without a name.
	Identity runbook.Identity `db:"identity" json:"identity,omitempty"`
	Via      runbook.Via      `db:"via" json:"via,omitempty"`
	// DecisionID is the id of a recorded decision, or "plan/" and the id of a plan.
	DecisionID string `db:"decision_id" json:"decisionId,omitempty"`
}

// A request that is recorded already stays as it was first answered.
const insertRecord = `
insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version,
reported_version,
    next_version, signal, actor, reason, code, message, request_id, identity, via, decision_id)
values (:restore_id, :org_id, :name, :transition, :from_state, :to_state, :restored_version, :reported_version,
    :next_version, :signal, :actor, :reason, :code, :message, nullif(:request_id, ''), :identity, :via, :decision_id)
on conflict (restore_id, org_id, name, request_id) where request_id is not null do nothing`

const selectRecord = `
select restore_id, org_id, name, transition, from_state, to_state, restored_version, reported_version,
    next_version, signal, actor, reason, code, message, coalesce(request_id, '') as request_id, at, identity, via,
    decision_id
from rollcall.transitions where restore_id = $1 and org_id = $2 and name = $3 `

// A request whose id another kind of message has is recorded under kindID.
const insertRecordOfKind = `
insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version,
reported_version,
    next_version, signal, actor, reason, code, message, request_id, identity, via, decision_id)
select :restore_id, cast(:org_id as uuid), :name, :transition, :from_state, :to_state, :restored_version,
    :reported_version, :next_version, :signal, :actor, :reason, :code, :message, :kind_id, :identity, :via, :decision_id
where exists (select from rollcall.transitions t where t.restore_id = :restore_id
    and t.org_id = cast(:org_id as uuid) and t.name = :name and t.request_id = :request_id and t.signal <> :signal)
on conflict (restore_id, org_id, name, request_id) where request_id is not null do nothing`

// write adds r to the audit.
func (r record) write(ctx context.Context, db sqlx.ExtContext) error {
	written, err := sqlx.NamedExecContext(ctx, db, insertRecord, r)
	if err != nil {
		return fmt.Errorf("write to the audit: %w", err)
	}
	if n, err := written.RowsAffected(); err != nil || n > 0 || r.RequestID == "" {
		return err
	}
	_, err = sqlx.NamedExecContext(ctx, db, insertRecordOfKind, struct {
		record
		KindID string `db:"kind_id"`
	}{r, kindID(r.Signal, r.RequestID)})
	if err != nil {
		return fmt.Errorf("write to the audit: %w", err)
	}
	return nil
}

// kindID is the id of a request where a message of another kind has its id already: a person may choose the same id for
// a resume and for a withdrawal. No request has such an id by itself.
func kindID(signal, requestID string) string { return signal + " " + requestID }

// readRequest finds what a request was answered with, if it was; an empty id is none. signal is the kind of message: an
// answer that another kind got under the same id is not this one's. id is the one to record the request under.
func readRequest(
	ctx context.Context, tx *sqlx.Tx, t target, signal, requestID string,
) (first *record, id string, err error) {
	if requestID == "" {
		return nil, "", nil
	}
	found, err := readRecord(ctx, tx, selectRecord+`and request_id in ($4, $5, $7)
		and (signal = $6 or request_id = $4) order by signal = $6 desc, id limit 1`,
		t, requestID, earlierID(requestID), signal, kindID(signal, requestID))
	switch {
	case err != nil:
		return nil, "", err
	case found == nil:
		return nil, requestID, nil
	case found.Signal != signal:
		return nil, kindID(signal, requestID), nil
	}
	return found, requestID, nil
}

// earlierID is the id under which a worker of an earlier release has written the request of an update.
func earlierID(requestID string) string { return strings.TrimPrefix(requestID, "update/") }

// readEnding finds what ended a device's part in a restore, if anything did.
func readEnding(ctx context.Context, tx *sqlx.Tx, t target) (*record, error) {
	return readRecord(ctx, tx, selectRecord+`and transition in ($4, $5, $6) order by id desc limit 1`, t, runbook.T2,
		runbook.T4, runbook.T5)
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

// result is what the record was answered with; applied reports whether to say that it moved the device.
func (r record) result(applied bool) Transitioned {
	t := Transitioned{
		Applied: applied, Transition: r.Transition, State: r.To, Restored: r.Restored, Reported: r.Reported, Next: r.Next,
		Updated: updatedBy(r.Transition, r.Restored, r.Reported), At: r.At.UTC(),
	}
	if r.Actor != ActorService {
		t.By, t.Reason = r.Actor, r.Reason
	}
	t.Who = r.Who
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

// RefusalInput is a message that was refused before it reached the inventory.
type RefusalInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// Message is the name of the signal or update.
	Message string `json:"message"`
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Version is what the message reported or expected.
	Version string `json:"version,omitempty"`
	// State is where the device stood, and stays.
	State   runbook.State   `json:"state"`
	Refusal runbook.Refusal `json:"refusal"`
	// RequestID makes a repetition leave one entry; empty adds one each time.
	RequestID string `json:"requestId,omitempty"`
	Who
}

// RecordRefusal keeps a refused message in the audit. It changes nothing else and asks for nothing: whoever was refused
// may have had the wrong restore or device.
func (s *Store) RecordRefusal(ctx context.Context, in RefusalInput) error {
	r := record{
		target: target{in.RestoreID, in.OrgID, in.Name}, Transition: runbook.Refused, From: in.State, To: in.State,
		Reported: in.Version, Signal: in.Message, Actor: in.By, Reason: in.Reason,
		Code: in.Refusal.Code, Message: in.Refusal.Message, RequestID: in.RequestID, Who: in.Who,
	}
	if err := r.write(ctx, s.db); err != nil {
		return fmt.Errorf("record the refusal of %s for device %s: %w", in.Message, in.Name, err)
	}
	return nil
}

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
	Who
}

// Entry is the row in the form of a workflow's timeline.
func (r TransitionRow) Entry() runbook.TimelineEntry {
	return runbook.TimelineEntry{
		At: r.At, Message: r.Signal, Accepted: r.Transition != runbook.Refused, Transition: r.Transition, From: r.From,
		To:      r.To,
		Version: r.Reported, By: r.Actor, Identity: r.Identity, Via: r.Via, Reason: r.Reason, Code: r.Code, Why: r.Message,
	}
}

// Transitions reads the audit of a device over all restores, the newest entry last. limit is how many to read at most,
// the newest ones; 0 and less is no limit. A device that was never on a roll has none, which is no error.
func (s *Store) Transitions(ctx context.Context, orgID, name string, limit int) ([]TransitionRow, error) {
	query := `select restore_id, org_id, name, at, transition,
  from_state, to_state, restored_version, reported_version, next_version, signal, actor, reason, code, message,
  identity, via, decision_id
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

// Types of events, Flight Control's words.
const (
	eventNormal  = "Normal"
	eventWarning = "Warning"
)

// notice is an event as it is written.
type notice struct {
	OrgID   string `db:"org_id"`
	Kind    string `db:"kind"`
	Name    string `db:"name"`
	Reason  string `db:"reason"`
	Type    string `db:"type"`
	Actor   string `db:"actor"`
	Message string `db:"message"`
}

// Annotations and details are what Flight Control's own rows hold where there is nothing to say: an empty object, and
// JSON's null. It decodes other details by a list of types that is its own.
const insertEvent = `
insert into events (org_id, name, annotations, details, resource_version, created_at, updated_at, reason,
source_component, actor, type,
    message, involved_object_kind, involved_object_name)
values (:org_id, cast(gen_random_uuid() as text), '{}', 'null', 1, now(), now(), :reason, 'rollcall', :actor, :type,
:message, :kind, :name)`

func (n notice) write(ctx context.Context, tx *sqlx.Tx) error {
	if _, err := tx.NamedExecContext(ctx, insertEvent, n); err != nil {
		return fmt.Errorf("write event %s: %w", n.Reason, err)
	}
	return nil
}

// withEvent makes c tell of itself in an event of the device.
func (c change) withEvent(reason, kind, message string) change {
	c.EventReason, c.EventType, c.EventMessage, c.EventActor = reason, kind, message, eventActor(c.Actor)
	return c
}

// eventActor writes who did something as events do: a name without a prefix is a user.
func eventActor(by string) string {
	if by == "" || by == runbook.ActorAgent {
		return ActorService
	}
	if strings.HasPrefix(by, "user:") || strings.HasPrefix(by, "service:") {
		return by
	}
	return "user:" + by
}

// restored is the event that a restore has put every device on the roll.
func restoredEvent(orgID, restoreID, by string, total int64) notice {
	if orgID == "" {
		orgID = runbook.DefaultOrgID
	}
	return notice{
		OrgID: orgID, Kind: "System", Name: "database", Reason: runbook.ReasonSystemRestored, Type: eventNormal,
		Actor:   eventActor(by),
		Message: fmt.Sprintf("Restore %s: %d devices await their reconnect", restoreID, total),
	}
}

// AuditQuery says which entries of the audit to read. All that it says must hold; its zero value is all of the default
// organisation's.
type AuditQuery struct {
	// OrgID is the organisation's UUID; empty is the default organisation.
	OrgID string
	// Names limits the answer to these devices and enrollment requests; empty is all.
	Names []string
	// RestoreID and Actor limit it to one restore and to one actor; empty is any.
	RestoreID, Actor string
	// Refused limits it to what was refused.
	Refused bool
	// Since limits it to entries from then on; the zero time is no limit.
	Since time.Time
	// Limit is how many to read at most, the newest ones; 0 or less is no limit.
	Limit int
}

// Audit reads entries of the audit over all restores and devices, the newest entry last.
func (s *Store) Audit(ctx context.Context, q AuditQuery) ([]TransitionRow, error) {
	if q.OrgID == "" {
		q.OrgID = runbook.DefaultOrgID
	}
	var since *time.Time
	if !q.Since.IsZero() {
		since = &q.Since
	}
	rows := []TransitionRow{}
	err := s.db.SelectContext(ctx, &rows, `
select restore_id, org_id, name, at, transition,
  from_state, to_state, restored_version, reported_version, next_version, signal, actor, reason, code, message,
  identity, via, decision_id
from rollcall.transitions
where org_id = $1 and (cardinality($2::text[]) = 0 or name = any($2)) and ($3 = '' or restore_id = $3) and ($4 = ''
or actor = $4)
  and (not $5 or code <> '') and (cast($6 as timestamptz) is null or at >= $6)
order by id desc limit nullif(greatest($7, 0), 0)`, q.OrgID, pq.Array(append([]string{}, q.Names...)), q.RestoreID,
		q.Actor, q.Refused, since, q.Limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	slices.Reverse(rows)
	return rows, nil
}

// ActInput is what a person did about a restore or a plan.
type ActInput struct {
	Act runbook.Act
	// OrgID is the organisation; empty is the default one.
	OrgID     string
	RestoreID string
	// PlanID is set where the act is about a plan.
	PlanID string
	By     string
	Reason string
	// RequestID makes a repetition leave one entry.
	RequestID string
	Who
	// Refusal is why it was refused; nil where it was accepted.
	Refusal *runbook.Refusal
}

// KnowsCancel reports whether the audit has the cancellation of a run of a restore's workflow, or could not have it:
// earlier releases wrote there neither who started a restore nor who cancelled it. closed is when the run ended.
func (s *Store) KnowsCancel(ctx context.Context, restoreID, runID string, closed time.Time) (known bool, err error) {
	err = s.db.GetContext(ctx, &known, `
with acts as (select signal, request_id, at from rollcall.transitions
    where restore_id = $1 and name = '' and transition = $2)
select exists (select from acts where signal = $3 and position($4 in request_id) > 0)
    or not exists (select from acts where at < $5)`,
		restoreID, runbook.Acted, runbook.ActCancel, runID, closed)
	if err != nil {
		return false, fmt.Errorf("look for who cancelled restore %s: %w", restoreID, err)
	}
	return known, nil
}

// PlanDecision is the DecisionID of what is done about a plan, and of the resumes that come from it.
func PlanDecision(planID string) string { return "plan/" + planID }

// RecordAct writes to the audit what a person did about a restore or a plan. It moves no device.
func (s *Store) RecordAct(ctx context.Context, in ActInput) error {
	if in.OrgID == "" {
		in.OrgID = runbook.DefaultOrgID
	}
	r := record{
		target: target{in.RestoreID, in.OrgID, ""}, Transition: runbook.Acted, Signal: string(in.Act), Actor: in.By,
		Reason:    in.Reason,
		RequestID: in.RequestID, Who: in.Who,
	}
	if in.PlanID != "" && r.DecisionID == "" {
		r.DecisionID = PlanDecision(in.PlanID)
	}
	if in.PlanID != "" && r.RequestID != "" { // two plans of a restore may be told something under the same id
		r.RequestID = PlanDecision(in.PlanID) + " " + r.RequestID
	}
	if in.Refusal != nil {
		r.Transition, r.Code, r.Message = runbook.Refused, in.Refusal.Code, in.Refusal.Message
	}
	if err := r.write(ctx, s.db); err != nil {
		return fmt.Errorf("record %s by %s: %w", in.Act, in.By, err)
	}
	return nil
}
