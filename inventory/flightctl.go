package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// lastRestore chooses the restore whose mode says who answers the agents of an organisation: the one that runs, else
// the newest. Flight Control goes on to answer them when its roll call has ended.
const lastRestore = `coalesce(b.org_id, %[1]s) = %[1]s
  order by b.state = 'Running' desc, b.started_at desc limit 1`

// FlightctlRestore returns the id of the restore beside Flight Control that runs for an organisation, or was its last;
// empty where there is none.
func (s *Store) FlightctlRestore(ctx context.Context, orgID string) (id string, err error) {
	err = s.db.GetContext(ctx, &id, `
select id from (select b.id, b.mode from rollcall.restores b
  where `+fmt.Sprintf(lastRestore, "cast($2 as uuid)")+`) last
where mode = $1`, runbook.ModeFlightctl, orgID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look for a restore beside Flight Control: %w", err)
	}
	return id, nil
}

// LastRestore returns the id of the restore that runs for an organisation, or was its last; empty where there is none.
func (s *Store) LastRestore(ctx context.Context, orgID string) (id string, err error) {
	err = s.db.GetContext(ctx, &id,
		`select b.id from rollcall.restores b where `+fmt.Sprintf(lastRestore, "cast($1 as uuid)"), orgID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look for the last restore: %w", err)
	}
	return id, nil
}

// Awaited is a device that awaits its reconnect.
type Awaited struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
	Seq   int64  `db:"seq"`
}

// AwaitedPage is how many devices Awaited returns at most.
const AwaitedPage = 500

// Awaited reads the next devices, from the number seq of the roll on, that await their reconnect by the roll and by
// their annotation. A restore that no longer runs awaits none.
func (s *Store) Awaited(ctx context.Context, restoreID string, seq int64) ([]Awaited, error) {
	var page []Awaited
	err := s.db.SelectContext(ctx, &page, `
select r.org_id, r.name, r.seq
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id and s.state = $3
join devices d on d.org_id = r.org_id and d.name = r.name and d.deleted_at is null
where r.restore_id = $1 and r.seq >= $2 and r.state = $4 and not r.superseded
and rollcall.device_state(d.annotations) = $4
order by r.seq limit $5`, restoreID, seq, runbook.RestoreRunning, runbook.StateAwaitingReconnect, AwaitedPage)
	if err != nil {
		return nil, fmt.Errorf("read who restore %s awaits: %w", restoreID, err)
	}
	return page, nil
}

// Decommission marks a device as Decommissioning, as Flight Control does when a user decommissions it. The device stays
// on its roll until its withdrawal is told to the roll call. A device that does not exist is no error.
func (s *Store) Decommission(ctx context.Context, orgID, name string) error {
	_, err := s.db.ExecContext(ctx, `UPDATE devices SET updated_at = now(), resource_version = coalesce(resource_version,
		0) + 1,
  status = coalesce(status, '{}') || jsonb_build_object('lifecycle', coalesce(status->'lifecycle',
  '{}') || '{"status": "Decommissioning"}')
WHERE org_id = $1 AND name = $2`, orgID, name)
	if err != nil {
		return fmt.Errorf("decommission device %q: %w", name, err)
	}
	return nil
}

// Gone reports whether a device was deleted, or is being decommissioned.
func (s *Store) Gone(ctx context.Context, orgID, name string) (gone bool, err error) {
	err = s.db.GetContext(ctx, &gone, `
select not exists (select from devices d where d.org_id = $1 and d.name = $2 and d.deleted_at is null
    and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all ($3))`, orgID, name, ineligible)
	if err != nil {
		return false, fmt.Errorf("read whether device %s is gone: %w", name, err)
	}
	return gone, nil
}

// MustHear reports whether a device of a running restore's roll is being decommissioned and is paused. Flight Control
// renders nothing for one that is paused, so that its agent does not hear of it.
func (s *Store) MustHear(ctx context.Context, restoreID, orgID, name string) (must bool, err error) {
	err = s.db.GetContext(ctx, &must, `
select exists (select from devices d
    join rollcall.roll r on r.org_id = d.org_id and r.name = d.name and r.restore_id = $1 and not r.superseded
    join rollcall.restores s on s.id = r.restore_id and s.state = $4
    where d.org_id = $2 and d.name = $3 and d.deleted_at is null and r.state = any ($5)
      and rollcall.device_state(d.annotations) = $6 and d.status -> 'lifecycle' ->> 'status' = any ($7))`,
		restoreID, orgID, name, runbook.RestoreRunning,
		pq.Array([]runbook.State{runbook.StateConflictPaused, runbook.StateWithdrawn}), runbook.StateConflictPaused,
		ineligible)
	if err != nil {
		return false, fmt.Errorf("read whether device %s must hear of its decommissioning: %w", name, err)
	}
	return must, nil
}

// halfDone is how long ago Flight Control has made the device at least, where its approval is not stored and counts as
// broken off. It does both within a second, but waits half a minute and more in between while its key-value store is
// away, and the call that asked for it may be open for two minutes.
const halfDone = "3 minutes"

// AskApproval records that Flight Control is to approve a request, before it is asked, if the approval counts; ask is
// true then. Called again after that, whatever became of the call, it reads the request and the device: one that was
// approved is recorded as this decision, unless another user than in.User has approved it, and a device that awaits its
// reconnect or is paused joins the roll of the restore that runs. One that is pending still is refused where
// in.Forbidden says why.
func (s *Store) AskApproval(ctx context.Context, in ApproveInput) (result Decided, ask bool, err error) {
	result, err = s.decide(ctx, "approve", in.record(), func(tx *sqlx.Tx, e enrollment) (Decided, error) {
		asked, old, err := e.wasAsked(ctx, tx)
		switch {
		case err != nil:
			return Decided{}, err
		case asked && e.State == runbook.EnrollmentApproved && e.DeviceExists && in.isOurs(e.DecidedBy):
			return e.approvedThere(ctx, tx)
		case asked && e.State == runbook.EnrollmentApproved:
			return e.refuse(ctx, tx, runbook.AsRefusal(runbook.MayApprove(e.stands(), in.Name)))
		case asked && e.DeviceExists && !old:
			return Decided{}, errors.New("the device is made and the approval not yet stored by Flight Control")
		case asked && e.DeviceExists:
			return e.refuse(ctx, tx, runbook.HalfApproved(in.Name))
		case asked && e.State == runbook.EnrollmentPending && in.Forbidden != nil:
			return e.refuse(ctx, tx, in.Forbidden)
		case asked && e.State == runbook.EnrollmentPending:
			ask = true
			return Decided{State: e.State}, nil
		}
		if in.Forbidden != nil {
			return e.refuse(ctx, tx, in.Forbidden)
		}
		err = runbook.MayApprove(e.signedBy(runbook.ModeFlightctl), in.Name)
		if err == nil {
			err = runbook.ExpectedKey(in.Name, in.ExpectKey, keyOf(e.CSR).Fingerprint)
		}
		if refusal := runbook.AsRefusal(err); refusal != nil {
			return e.refuse(ctx, tx, refusal)
		}
		ask = true
		r := e.asked
		r.Transition, r.RequestID = runbook.Decided, askedID(r.RequestID)
		return Decided{State: e.State}, r.write(ctx, tx)
	})
	return result, ask && err == nil && result.Refusal == nil, err
}

// isOurs reports whether an approval that Flight Control has stored is the one that it was asked for.
func (in ApproveInput) isOurs(approvedBy string) bool {
	return in.User == "" || approvedBy == "" || approvedBy == in.User
}

func askedID(requestID string) string { return requestID + "/asked" }

// wasAsked reports whether Flight Control was asked to approve for this decision, and whether that is a while ago.
func (e enrollment) wasAsked(ctx context.Context, tx *sqlx.Tx) (asked, old bool, err error) {
	err = tx.QueryRowxContext(ctx, `
select t.at < now() - cast($4 as interval) and coalesce((select d.created_at < now() - cast($4 as interval)
    from devices d where d.org_id = t.org_id and d.name = t.name and d.deleted_at is null), false)
from rollcall.transitions t
where t.org_id = $1 and t.name = $2 and t.request_id = $3 and t.transition = $5 limit 1`,
		e.asked.OrgID, e.asked.Name, askedID(e.asked.RequestID), halfDone, runbook.Decided).Scan(&old)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read whether Flight Control was asked: %w", err)
	}
	return true, old, nil
}

// approvedThere records an approval that Flight Control has carried out for us.
func (e enrollment) approvedThere(ctx context.Context, tx *sqlx.Tx) (Decided, error) {
	r := e.asked
	var rendered bool
	err := tx.QueryRowxContext(ctx, `
select rollcall.device_state(annotations), now(), coalesce(annotations ->> $3, '') <> ''
from devices where org_id = $1 and name = $2`, r.OrgID, r.Name, runbook.AnnotationRenderedVersion).
		Scan(&r.To, &r.At, &rendered)
	if err != nil {
		return Decided{}, fmt.Errorf("read the device: %w", err)
	}
	r.Transition = runbook.Approved
	// Flight Control does not render a device that began to await its reconnect and that it has released since.
	released := !rendered && runbook.EnrolledState(e.annotations, e.Known) == runbook.StateAwaitingReconnect
	if e.restore != nil && (r.To.Open() || released) {
		// Where Flight Control has compared or released it already, the next look of the watch finds it so.
		if r.From, err = e.joinRoll(ctx, tx); err != nil {
			return Decided{}, err
		}
		r.Transition, r.To = runbook.T1, runbook.StateAwaitingReconnect
	}
	if err := r.write(ctx, tx); err != nil {
		return Decided{}, err
	}
	_, err = e.acceptKey(ctx, tx)
	return e.answered(r), err
}

// Appeared is a device beside Flight Control that awaits its reconnect and is on no roll: its request was approved
// there.
type Appeared struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
}

// appearedAtOnce is how many devices Appeared returns at most.
const appearedAtOnce = 200

// The roll holds all that waited when it was made, so that any other has appeared since. One that was on it and left
// has come again if it was made after that. A request that is pending has a device when an approval is under way or has
// broken off. An approval that we have asked for puts its device on the roll by itself.
var selectAppeared = `
select d.org_id, d.name
from devices d
join rollcall.restores s on s.id = $1 and s.state = $2 and s.mode = $3 and s.rolled_at is not null
and coalesce(s.org_id, d.org_id) = d.org_id
left join rollcall.roll r on r.restore_id = s.id and r.org_id = d.org_id and r.name = d.name
where d.deleted_at is null and d.annotations @> '{"device-controller/awaitingReconnect": "true"}'
  and (r.name is null or r.state in ('Normal', 'Withdrawn') and not r.superseded and d.created_at > r.since)
  and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all ($4)
  and not exists (select from enrollment_requests e where e.org_id = d.org_id and e.name = d.name
  and e.deleted_at is null
    and ` + requestState("e") + ` = 'Pending')
  and not exists (select from rollcall.transitions x where x.org_id = d.org_id and x.name = d.name and x.signal = $5
  and x.transition = $6
    and x.at > now() - cast($7 as interval))
order by d.org_id, d.name limit $8`

// Appeared reads devices that have appeared beside Flight Control since a restore's roll was made. A restore that does
// not run, or not in this mode, has none.
func (s *Store) Appeared(ctx context.Context, restoreID string) ([]Appeared, error) {
	var found []Appeared
	err := s.db.SelectContext(ctx, &found, selectAppeared, restoreID, runbook.RestoreRunning, runbook.ModeFlightctl,
		ineligible,
		runbook.SignalApprove, runbook.Decided, halfDone, appearedAtOnce)
	if err != nil {
		return nil, fmt.Errorf("look for devices that are not on the roll of restore %s: %w", restoreID, err)
	}
	return found, nil
}

// JoinAppeared puts a device that has appeared on the roll (T1), and returns its place there. It is nil where the
// device does not wait any more, is on the roll, or where the restore has ended.
func (s *Store) JoinAppeared(ctx context.Context, restoreID string, a Appeared) (*RollEntry, error) {
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		e, err := lockEnrollment(ctx, tx, record{target: target{"", a.OrgID, a.Name}, Actor: ActorFlightctl})
		if err != nil || e.restore == nil || e.restore.ID != restoreID {
			return err
		}
		var joins []bool
		err = tx.SelectContext(ctx, &joins, `
select true from devices d left join rollcall.roll r on r.restore_id = $3 and r.org_id = d.org_id and r.name = d.name
where d.org_id = $1 and d.name = $2 and d.deleted_at is null and rollcall.device_state(d.annotations) = $4
  and coalesce(r.state, 'Normal') in ('Normal', 'Withdrawn')
for no key update of d`, a.OrgID, a.Name, restoreID, runbook.StateAwaitingReconnect)
		if err != nil {
			return fmt.Errorf("lock the device: %w", err)
		}
		if len(joins) == 0 {
			return nil
		}
		return e.appeared(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("put device %s on the roll of restore %s: %w", a.Name, restoreID, err)
	}
	return s.WaitingEntry(ctx, restoreID, a.OrgID, a.Name)
}

// appeared is T1 of a device whose request was approved in Flight Control.
func (e enrollment) appeared(ctx context.Context, tx *sqlx.Tx) error {
	r := e.asked
	r.Transition, r.To, r.Reason = runbook.T1, runbook.StateAwaitingReconnect, "it was approved in Flight Control"
	if e.DecidedBy != "" {
		r.Reason += " by " + e.DecidedBy
	}
	var err error
	if r.From, err = e.joinRoll(ctx, tx); err != nil {
		return err
	}
	if err := r.write(ctx, tx); err != nil {
		return err
	}
	if e.State == runbook.EnrollmentApproved {
		_, err = e.acceptKey(ctx, tx)
	}
	return err
}

// FollowRequestInput names an enrollment request whose workflow waits.
type FollowRequestInput struct {
	OrgID, Name string
	// Since is when the workflow began to wait. What was decided here before that is no answer to it.
	Since     time.Time
	RequestID string
	// Mode is the mode of the worker that asks.
	Mode runbook.Mode
}

// FollowRequest reads whether a request was decided. A decision of ours is answered as it was; any other is recorded as
// Flight Control's, where one runs beside. A request that is pending has no answer.
func (s *Store) FollowRequest(ctx context.Context, in FollowRequestInput) (Decided, error) {
	asked := record{
		target: target{"", in.OrgID, in.Name}, Signal: runbook.SignalLook, Actor: ActorService, RequestID: in.RequestID,
	}
	if in.Mode == runbook.ModeFlightctl {
		asked.Actor = ActorFlightctl
	}
	return s.decide(ctx, "follow", asked, func(tx *sqlx.Tx, e enrollment) (Decided, error) {
		if e.State == runbook.EnrollmentPending {
			return Decided{State: e.State}, nil
		}
		ours, err := e.decidedHere(ctx, tx, in.Since)
		if err != nil {
			return Decided{}, err
		}
		if ours != nil {
			return e.answered(*ours), nil
		}
		return e.decidedElsewhere(ctx, tx)
	})
}

// decidedHere returns the decision of ours that says what the request says; nil where there is none.
func (e enrollment) decidedHere(ctx context.Context, tx *sqlx.Tx, since time.Time) (*record, error) {
	last, err := oneDecision(ctx, tx, selectDecision+`
and at >= $3 and signal in ($4, $5) and transition in ($6, $7, $8) order by id desc limit 1`, e.asked.OrgID,
		e.asked.Name, since, runbook.SignalApprove, runbook.SignalDeny, runbook.Approved, runbook.Denied, runbook.T1)
	if err != nil || last == nil {
		return nil, err
	}
	if denied, approved := last.Transition == runbook.Denied, e.State == runbook.EnrollmentApproved; denied == approved {
		return nil, nil // it was decided another time since
	}
	return last, nil
}

// decidedElsewhere records what was decided about a request without us.
func (e enrollment) decidedElsewhere(ctx context.Context, tx *sqlx.Tx) (Decided, error) {
	r := e.asked
	var states []runbook.State
	err := tx.SelectContext(ctx, &states, `
select rollcall.device_state(annotations) from devices where org_id = $1 and name = $2 and deleted_at is null`,
		r.OrgID, r.Name)
	if err != nil {
		return Decided{}, fmt.Errorf("read the device: %w", err)
	}
	verb := ""
	switch e.State {
	case runbook.EnrollmentApproved:
		r.Transition, verb = runbook.Approved, "approved"
		if len(states) > 0 {
			r.To = states[0]
		}
		if _, err := e.acceptKey(ctx, tx); err != nil {
			return Decided{}, err
		}
	case runbook.EnrollmentDenied:
		r.Transition, verb = runbook.Denied, "denied"
	default:
		r.Transition, verb = runbook.Deleted, "deleted"
	}
	r.Reason = "it was " + verb + " without Rollcall"
	if r.Actor == ActorFlightctl {
		r.Reason = "it was " + verb + " in Flight Control"
	}
	if e.DecidedBy != "" {
		r.Reason += " by " + e.DecidedBy
	}
	if err := tx.GetContext(ctx, &r.At, `select now()`); err != nil {
		return Decided{}, fmt.Errorf("read the time: %w", err)
	}
	return e.answered(r), r.write(ctx, tx)
}

// DecidedRequests returns those of these enrollment requests that are not pending any more.
func DecidedRequests(
	ctx context.Context, db sqlx.QueryerContext, requests []PendingRequest,
) (decided []PendingRequest, err error) {
	orgs, names := make([]string, len(requests)), make([]string, len(requests))
	for i, r := range requests {
		orgs[i], names[i] = r.OrgID, r.Name
	}
	err = sqlx.SelectContext(ctx, db, &decided, `
select v.org_id, v.name from unnest(cast($1 as uuid[]), cast($2 as text[])) as v (org_id, name)
left join enrollment_requests e on e.org_id = v.org_id and e.name = v.name and e.deleted_at is null
where e.name is null or `+requestState("e")+` <> 'Pending'
order by v.org_id, v.name`, pq.StringArray(orgs), pq.StringArray(names))
	if err != nil {
		return nil, fmt.Errorf("look which of %d enrollment requests were decided: %w", len(requests), err)
	}
	return decided, nil
}
