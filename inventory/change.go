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

	"rollcall/internal/fault"
	"rollcall/runbook"
)

// change is one transition of a device that stays in the inventory (T2, T3, T4, or a paused device that reports again):
// what must hold, and what is written if it does. applyChange reads it by these names.
type change struct {
	RestoreID string `json:"restore_id"`
	OrgID     string `json:"org_id"`
	Name      string `json:"name"`
	// FromRoll, FromDevice and Restored are the compare of compare-and-set: the state on the roll, the state by the
	// device's annotations, and the restored version that the decision is about.
	FromRoll   runbook.State `json:"from_roll"`
	FromDevice runbook.State `json:"from_device"`
	Restored   string        `json:"restored"`

	Transition runbook.Transition `json:"transition"`
	From       runbook.State      `json:"from_state"`
	To         runbook.State      `json:"to_state"`
	Reported   string             `json:"reported"`
	Next       string             `json:"next"`
	// Dropped and Added are annotations, by key and whole.
	Dropped []string          `json:"dropped"`
	Added   map[string]string `json:"added"`
	// Summary goes into status.summary; what else is in there stays, but for info, which told of a state that is over.
	// Updated replaces status.updated, and Config goes into status.config; empty leaves them alone.
	Summary map[string]string `json:"summary"`
	Updated map[string]string `json:"updated,omitempty"`
	Config  map[string]string `json:"config,omitempty"`

	Signal    string `json:"signal"`
	Actor     string `json:"actor"`
	Reason    string `json:"reason"`
	RequestID string `json:"request_id"`

	Identity   runbook.Identity `json:"identity"`
	Via        runbook.Via      `json:"via"`
	DecisionID string           `json:"decision_id"`

	EventReason  string `json:"event_reason"`
	EventType    string `json:"event_type"`
	EventActor   string `json:"event_actor"`
	EventMessage string `json:"event_message"`
}

// applyChange is a whole transition of a device in one statement, and so in one round trip and one transaction. It
// answers with a row if it was carried out; otherwise it writes nothing.
//
// The device is locked first, and its newest version looked at, so that whatever got there earlier (an agent, another
// report, a newer restore's T1) is seen. One that someone else holds is passed over: no one waits here, and so no one
// waits in a circle. The roll's row comes next, also by its newest version, and only where it is as expected the
// device, whose lock keeps it as it was found. What ends a restore needs no lock: a transition that
// began before the restore ended counts as before, and a newer restore's T1 either finds its result or makes it fail
// here.
//
// A status is stored compressed. "|| '{}'" takes it out once, for all that reads it after that; OFFSET 0 keeps
// the planner from putting the expression back where it is used.
const applyChange = `
with asked as materialized (
    select * from json_to_record($1) as c(restore_id text, org_id uuid, name text, from_roll text,
    from_device text, restored text,
        transition text, from_state text, to_state text, reported text, next text, dropped text[], added jsonb,
        summary jsonb, updated jsonb, config jsonb, signal text, actor text, reason text, request_id text,
        event_reason text, event_type text, event_actor text, event_message text,
        identity text, via text, decision_id text)
), held as materialized (
    select c.* from asked c cross join lateral (
        select from devices d
        where d.org_id = c.org_id and d.name = c.name and d.deleted_at is null
          and rollcall.device_state(d.annotations) = c.from_device
          and coalesce(d.annotations ->> '` + runbook.AnnotationRenderedVersion + `', '') = c.restored
          and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all ($2::text[])
        for no key update skip locked) d
), rolled as (
    update rollcall.roll r set
        state = c.to_state,
        since = case when r.state = c.to_state then r.since else now() end,
        restored_version = c.restored,
        reported_version = c.reported,
        next_version = nullif(c.next, ''),
        resumed_by = case when c.next = '' then r.resumed_by else c.actor end,
        resumed_reason = case when c.next = '' then r.resumed_reason else c.reason end,
        resumed_at = case when c.next = '' then r.resumed_at else now() end
    from held c
    where r.org_id = c.org_id and r.name = c.name and r.restore_id = c.restore_id and r.state = c.from_roll
    and not r.superseded
      and exists (select from rollcall.restores s where s.id = c.restore_id and s.state = 'Running'
        and (c.signal <> 'reconnect' or s.mode = 'standalone'))
    returning c.*
), changed as (
    update devices d set
        (annotations, status) = (
            select (rollcall.object(was.annotations) - c.dropped) || c.added,
                rollcall.object(was.status)
                    || jsonb_build_object('summary', (rollcall.object(was.status -> 'summary') - 'info') || c.summary)
                    || case when c.updated is null then '{}' else jsonb_build_object('updated', c.updated) end
                    || case when c.config is null then '{}' else jsonb_build_object('config',
                    rollcall.object(was.status -> 'config') || c.config) end
            from (select d.annotations, d.status || '{}' as status offset 0) was),
        resource_version = coalesce(d.resource_version, 0) + 1,
        updated_at = now()
    from rolled c where d.org_id = c.org_id and d.name = c.name
), told as (
    insert into events (org_id, name, annotations, details, resource_version, created_at, updated_at, reason,
    source_component, actor, type,
        message, involved_object_kind, involved_object_name)
    select c.org_id, cast(gen_random_uuid() as text), '{}', 'null', 1, now(), now(), c.event_reason, 'rollcall',
    c.event_actor, c.event_type,
        c.event_message, 'Device', c.name
    from rolled c where c.event_reason <> ''
), kept as (
    insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version,
    reported_version,
        next_version, signal, actor, reason, request_id, identity, via, decision_id)
    select c.restore_id, c.org_id, c.name, c.transition, c.from_state, c.to_state, c.restored, c.reported,
        c.next, c.signal, c.actor, c.reason, nullif(c.request_id, ''), c.identity, c.via, c.decision_id
    from rolled c
)
select now() from rolled`

// ineligible is the argument that keeps the rule of eligibility in runbook: statements compare a lifecycle with it.
var ineligible = pq.StringArray(runbook.IneligibleLifecycles)

// patch is parts of a device's status, each with strings in it.
type patch map[string]map[string]string

func (p patch) json() string { return marshalStrings(p) }

func marshalStrings(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal strings: %v", err)) // what holds strings and numbers alone cannot fail
	}
	return string(text)
}

// apply carries out c if everything that it expects holds, and says when; ok is false where it does not, or where
// someone else holds the device, and then nothing was written. Nothing is written after the deadline of ctx.
func (s *Store) apply(ctx context.Context, c change) (at time.Time, ok bool, err error) {
	stmt, err := s.prepareApply(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	fault.At(fault.BeforeTransitions)
	defer fault.At(fault.AfterTransitions)
	return c.write(ctx, stmt)
}

// applyIn is apply in a transaction that holds the device.
func (s *Store) applyIn(ctx context.Context, tx *sqlx.Tx, c change) (at time.Time, ok bool, err error) {
	stmt, err := s.prepareApply(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	return c.write(ctx, tx.StmtxContext(ctx, stmt))
}

func (c change) write(ctx context.Context, stmt *sqlx.Stmt) (at time.Time, ok bool, err error) {
	err = stmt.GetContext(ctx, &at, marshalStrings(c), ineligible)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("write transition %s: %w", c.Transition, err)
	}
	return at.UTC(), true, nil
}

// by says who made the change.
func (c change) by(actor, reason string, who Who) change {
	c.Actor, c.Reason = actor, reason
	c.Identity, c.Via, c.DecisionID = who.Identity, who.Via, who.DecisionID
	return c
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
	t.Who = Who{c.Identity, c.Via, c.DecisionID}
	return t
}
