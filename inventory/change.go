package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// change is one transition of a device that stays in the inventory (T2, T3, T4, or a paused device that reports again):
// what must hold, and what is written if it does.
type change struct {
	target
	// FromRoll, FromDevice and Restored are the compare of compare-and-set: the state on the roll, the state by the device's
	// annotations, and the restored version that the decision is about.
	FromRoll   runbook.State  `db:"from_roll"`
	FromDevice runbook.State  `db:"from_device"`
	Restored   string         `db:"restored"`
	Ineligible pq.StringArray `db:"ineligible"`
	VersionKey string         `db:"version_key"`

	Transition runbook.Transition `db:"transition"`
	From       runbook.State      `db:"from_state"`
	To         runbook.State      `db:"to_state"`
	Reported   string             `db:"reported"`
	Next       string             `db:"next"`
	// Dropped and Added are keys and an object of annotations.
	Dropped pq.StringArray `db:"dropped"`
	Added   string         `db:"added"`
	// Summary is an object that goes into status.summary; what else is in there stays, but for info, which told of a state that
	// is over. Updated is the status.updated.status, and Runs the status.config.renderedVersion; one that is empty stays.
	Summary string `db:"summary"`
	Updated string `db:"updated"`
	Runs    string `db:"runs"`

	Signal    string `db:"signal"`
	Actor     string `db:"actor"`
	Reason    string `db:"reason"`
	RequestID string `db:"request_id"`

	EventReason  string `db:"event_reason"`
	EventType    string `db:"event_type"`
	EventActor   string `db:"event_actor"`
	EventMessage string `db:"event_message"`
}

// applyChange is a whole transition in one statement, and so in one round trip. The UPDATE of the device comes first: it
// waits for whoever holds the row and then looks at its newest version, so that whatever got there earlier (an agent,
// another report, a newer restore's T1) is seen. The roll's row follows in the same manner. Where the device may change and
// its row on the roll may not, the audit's restore_id is NULL, which it must not be, and the statement writes nothing
// (offTheRoll). What ends a restore needs no lock: a transition that began before the restore ended counts as before, and
// a newer restore's T1 either finds its result or makes it fail here.
//
// A status is stored compressed. "|| '{}'" takes it out once, for all that reads it after that; OFFSET 0 keeps the planner
// from putting the expression back where it is used.
const applyChange = `
with changed as (
    update devices d set
        (annotations, status) = (
            select (rollcall.object(was.annotations) - cast(:dropped as text[])) || cast(:added as jsonb),
                rollcall.object(was.status)
                    || jsonb_build_object('summary', (rollcall.object(was.status -> 'summary') - 'info') || cast(:summary as jsonb))
                    || case when :updated = '' then '{}' else jsonb_build_object(
                        'updated', rollcall.object(was.status -> 'updated') || jsonb_build_object('status', cast(:updated as text))) end
                    || case when :runs = '' then '{}' else jsonb_build_object(
                        'config', rollcall.object(was.status -> 'config') || jsonb_build_object('renderedVersion', cast(:runs as text))) end
            from (select d.annotations, d.status || '{}' as status offset 0) was),
        resource_version = coalesce(d.resource_version, 0) + 1,
        updated_at = now()
    where d.org_id = cast(:org_id as uuid) and d.name = :name and d.deleted_at is null
      and rollcall.device_state(d.annotations) = :from_device
      and coalesce(d.annotations ->> cast(:version_key as text), '') = :restored
      and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all (cast(:ineligible as text[]))
      and exists (select from rollcall.restores s where s.id = :restore_id and s.state = 'Running')
    returning d.org_id, d.name
), rolled as (
    update rollcall.roll r set
        state = :to_state,
        since = case when r.state = :to_state then r.since else now() end,
        restored_version = :restored,
        reported_version = :reported,
        next_version = nullif(:next, ''),
        resumed_by = case when :next = '' then r.resumed_by else :actor end,
        resumed_reason = case when :next = '' then r.resumed_reason else :reason end,
        resumed_at = case when :next = '' then r.resumed_at else now() end
    from changed
    where r.org_id = changed.org_id and r.name = changed.name and r.restore_id = :restore_id
      and r.state = :from_roll and not r.superseded
    returning r.restore_id
), told as (
    insert into events (org_id, name, resource_version, created_at, updated_at, reason, source_component, actor, type, message,
        involved_object_kind, involved_object_name)
    select changed.org_id, cast(gen_random_uuid() as text), 1, now(), now(), :event_reason, 'rollcall', :event_actor, :event_type,
        :event_message, 'Device', changed.name
    from changed where :event_reason <> ''
)
insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version, reported_version,
    next_version, signal, actor, reason, request_id)
select (select restore_id from rolled), changed.org_id, changed.name, :transition, :from_state, :to_state, :restored, :reported,
    :next, :signal, :actor, :reason, nullif(:request_id, '')
from changed
returning at`

// offTheRoll tells whether applyChange wrote nothing because the device's row on the roll is not as the change expects.
func offTheRoll(err error) bool {
	const notNullViolation = "23502"
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && pqErr.Code == notNullViolation && pqErr.Schema == "rollcall" && pqErr.Table == "transitions" && pqErr.Column == "restore_id"
}

// ineligible is the argument that keeps the rule of eligibility in runbook: statements compare a lifecycle with it.
var ineligible = pq.StringArray(runbook.IneligibleLifecycles)

// patch is parts of a device's status, each with strings in it.
type patch map[string]map[string]string

func (p patch) json() string { return marshalStrings(p) }

func marshalStrings(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal strings: %v", err)) // maps of strings cannot fail
	}
	return string(text)
}

// apply carries out c if everything that it expects holds, and says when; ok is false where it does not, and then nothing
// was written; a transaction may then be one that can only be rolled back. Without one it is one round trip, on a prepared
// statement.
func (s *Store) apply(ctx context.Context, tx *sqlx.Tx, c change) (at time.Time, ok bool, err error) {
	c.Ineligible, c.VersionKey = ineligible, runbook.AnnotationRenderedVersion
	stmt, err := s.prepare(ctx, applyChange)
	if err != nil {
		return time.Time{}, false, err
	}
	if tx != nil {
		stmt = tx.NamedStmtContext(ctx, stmt)
	}
	err = stmt.GetContext(ctx, &at, c)
	if errors.Is(err, sql.ErrNoRows) || offTheRoll(err) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("write transition %s: %w", c.Transition, err)
	}
	return at.UTC(), true, nil
}

// result is what an applied change answers.
func (c change) result(at time.Time) Transitioned {
	t := Transitioned{
		Applied: true, Transition: c.Transition, State: c.To, Restored: c.Restored, Reported: c.Reported, Next: c.Next,
		Updated: updatedBy(c.Transition, c.Restored, c.Reported), At: at,
	}
	if c.Actor != ActorService {
		t.By, t.Reason = c.Actor, c.Reason
	}
	return t
}
