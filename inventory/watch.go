package inventory

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/inventory/posts"
	"rollcall/runbook"
)

// PendingSignalsInput asks what has become of the devices that a restore waits for.
type PendingSignalsInput struct {
	RestoreID string
	// Since leaves out devices whose row has not changed after it, on whichever clock that was written; zero leaves out
	// none.
	Since time.Time
	// Claimed lists a noted report, too, that a workflow began with or will begin with.
	Claimed bool
}

// PendingSignal is a device whose workflow does not know yet what the database says.
type PendingSignal struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
	// Signal is runbook.SignalReconnect for a device whose report of Version was noted, and runbook.SignalLook for one
	// that Flight Control has moved, that has told it another version, or that is gone.
	Signal  string `db:"signal"`
	Version string `db:"version"`
	// Uncalled reports whether the roll call has not come to the device, which has no workflow yet.
	Uncalled bool `db:"uncalled"`
}

// PendingSignals is one look at a roll.
type PendingSignals struct {
	// At is when it was, on the database's clock.
	At time.Time
	// Running reports whether the restore is still the current one; otherwise no one is seen.
	Running bool
	Devices []PendingSignal
}

// pendingSignals is one statement for any size of fleet. It lists the devices for which a signal is due: once their
// workflow has dealt with it, the roll (or, for a version that cannot be read, the audit) says so and they are not
// listed again.
//
// What a device runs is never read from its row in devices. Others write that row, and the status in it is the backup's
// until the agent has sent one, so that the backup's own version would release a device that is ahead of it. A version
// that is reported here is one that the gateway has noted on the roll (Store.NoteReports), or that a status has said
// which no poll has followed (Store.NoteStatus). One that was noted before a
// batch claimed the device needs no signal: the device's workflow begins with it. One that cannot be read waits until
// the last such refusal is posts.ReportEvery old, as it would at the gateway: a device that notes ever other ones fills
// no audit, and its newest one is told in the end.
//
// Beside Flight Control its own comparison at the poll shows in the annotations, which are looked at each time. Only
// after that the status says what a device runs, where it has a config.
//
// The cheap comparisons come first, because a status may be long and is stored apart: on a look with Since it is only
// read for devices that have changed. Beside Flight Control resource_version says so, since not each of its statements
// sets updated_at and its servers have clocks of their own. A device that has changed and about which there is nothing
// to say is noted as seen at that version; a row of the roll that someone else holds is noted by a later look.
//
// Devices whose workflows have started come first as far as that is known: those whose place has changed since the roll
// was made, such as paused devices and late joiners, and then the others in the order in which the roll call starts
// them.
const pendingSignals = `
with looked as (
    select s.id, now() as at, s.state = 'Running' as running, s.rolled_at, s.mode = 'flightctl' as beside, s.by_wave
    from rollcall.restores s where s.id = $1
), unseen as materialized (
    select r.org_id, r.name, d.resource_version
    from looked s
    join rollcall.roll r on r.restore_id = s.id and s.running and s.beside
    join devices d on d.org_id = r.org_id and d.name = r.name
    where r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded and d.resource_version is distinct
    from r.seen_version
), found as materialized (
    select r.org_id, r.name, r.seq, coalesce(r.since > s.rolled_at, false) as changed, d.name is null
    or d.deleted_at is not null
            or coalesce(d.status -> 'lifecycle' ->> 'status', '') = any (cast($3 as text[]))
            or s.beside as moved,
        case when s.beside then coalesce(d.status -> 'config' ->> 'renderedVersion', '') else coalesce(r.noted_version,
        r.status_version, '') end as version,
        r.batch is null and s.by_wave as uncalled
    from looked s
    join rollcall.roll r on r.restore_id = s.id and s.running
    left join devices d on d.org_id = r.org_id and d.name = r.name
    left join unseen u on u.org_id = r.org_id and u.name = r.name
    where r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded
      and (r.state = 'AwaitingReconnect' and r.noted_version <> '' and ($7
            or (r.batch is not null or not s.by_wave) and r.noted_version is distinct from r.carried_version)
        or r.state = 'AwaitingReconnect' and not s.beside and r.noted_version is null
            and r.status_at < now() - make_interval(secs => $9) and (r.batch is not null or not s.by_wave)
        or d.name is null
        or s.beside and r.resumed_by is null and rollcall.device_state(d.annotations) not in (r.state,
        'AwaitingReconnect')
        or ($2 = timestamptz '-infinity' or u.name is not null or greatest(d.updated_at, d.deleted_at) > $2)
          and (d.deleted_at is not null
            or s.beside and rollcall.device_state(d.annotations) = 'Normal' and r.resumed_by is null
            or s.beside and rollcall.device_state(d.annotations) = 'ConflictPaused' and r.state = 'AwaitingReconnect'
            or ((d.updated_at > r.since or u.name is not null or $2 = timestamptz '-infinity')
                and coalesce(d.status -> 'lifecycle' ->> 'status', '') = any (cast($3 as text[])))
            or s.beside and r.state = 'ConflictPaused' and r.resumed_by is null
            and rollcall.device_state(d.annotations) = 'ConflictPaused'
                and d.status -> 'config' ->> 'renderedVersion' <> coalesce(r.reported_version, '')))
), noted as (
    update rollcall.roll r set seen_version = u.resource_version
    from (
        select h.org_id, h.name, u.resource_version
        from unseen u join rollcall.roll h on h.restore_id = $1 and h.org_id = u.org_id and h.name = u.name
        where not exists (select from found f where f.org_id = u.org_id and f.name = u.name)
        for no key update of h skip locked) u
    where r.restore_id = $1 and r.org_id = u.org_id and r.name = u.name
), due as (
    select f.org_id, f.name, f.seq, f.changed, f.uncalled, case when f.moved then $4 else $5 end as signal, f.version
    from found f
    where f.moved or not exists (
        select from rollcall.transitions x
        where x.restore_id = $1 and x.org_id = f.org_id and x.name = f.name
          and x.transition = 'Refused' and x.signal = $5 and x.code = $6 and (x.reported_version = f.version
            or x.at > now() - make_interval(secs => $8) and f.version !~ '^(0|[1-9][0-9]{0,17})$'))
)
select looked.at, looked.running, coalesce(cast(due.org_id as text), '') as org_id, coalesce(due.name, '') as name,
    coalesce(due.signal, '') as signal, coalesce(due.version, '') as version, coalesce(due.uncalled, false) as uncalled
from looked left join due on true
order by due.changed desc, due.seq`

// PendingSignals looks once at all devices that a restore waits for, and returns those whose workflow must be told
// something, first those whose workflow is the likeliest to be there. An unknown restore is one that does not run.
func (s *Store) PendingSignals(ctx context.Context, in PendingSignalsInput) (PendingSignals, error) {
	since := "-infinity"
	if !in.Since.IsZero() {
		since = in.Since.UTC().Format(time.RFC3339Nano)
	}
	var rows []struct {
		PendingSignal
		At      time.Time `db:"at"`
		Running bool      `db:"running"`
	}
	err := s.db.SelectContext(ctx, &rows, pendingSignals, in.RestoreID, since, ineligible,
		runbook.SignalLook, runbook.SignalReconnect, runbook.CodeInvalidVersion, in.Claimed, posts.ReportEvery.Seconds(),
		StatusCounts.Seconds())
	if err != nil {
		return PendingSignals{}, fmt.Errorf("look for who restore %s waits for: %w", in.RestoreID, err)
	}
	var seen PendingSignals
	for _, row := range rows {
		seen.At, seen.Running = row.At.UTC(), row.Running
		if row.Name != "" {
			seen.Devices = append(seen.Devices, row.PendingSignal)
		}
	}
	return seen, nil
}

// SyncInput asks that the roll follow a device which another hand has moved.
type SyncInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
}

// Sync has the roll follow a device that was deleted or decommissioned (T5) and, beside Flight Control, what that did
// to it: it has taken its annotation away (T2, or T4 of one that was paused), or has paused it (T3). The device stays
// as it is, and Flight Control has told its own users. Where roll and device agree, nothing is done. Nor is anything
// for what another hand did to annotations where our gateway answers the agents: a row is no report, and no decision.
// What may not act any more is a Refusal.
func (s *Store) Sync(ctx context.Context, in SyncInput) (Transitioned, error) {
	t := target{in.RestoreID, in.OrgID, in.Name}
	return s.decideLocked(ctx, "look at", runbook.SignalLook, t, in.RequestID,
		func(tx *sqlx.Tx, p position) (Transitioned, error) {
			if refusal := p.fence(); refusal != nil {
				return p.refused(refusal), nil
			}
			if !p.RollState.Open() {
				return p.ended(ctx, tx)
			}
			r := record{Signal: runbook.SignalLook, Actor: ActorFlightctl, RequestID: in.RequestID}
			if p.gone() {
				r.Reason = p.goneReason()
				return p.withdraw(ctx, tx, r)
			}
			return p.adopt(ctx, tx, r)
		})
}

// adopt writes where Flight Control has put the device into its row of the roll, if that is ahead of the roll; a device
// that has gone back to waiting is no transition, and is decided by its next report.
func (p position) adopt(ctx context.Context, tx *sqlx.Tx, r record) (Transitioned, error) {
	if p.Mode != runbook.ModeFlightctl {
		return p.stands(), nil
	}
	if p.DecidedVersion != "" && p.RollState == runbook.StateConflictPaused {
		return p.followDecision(ctx, tx, r)
	}
	if p.RollState == runbook.StateAwaitingReconnect && p.release().Next() != runbook.StepDone {
		return p.stands(), nil
	}
	reported, readable := p.flightctlReported()
	if p.RollState == runbook.StateAwaitingReconnect && p.Asked != nil && p.Reported != "" {
		reported = p.Reported // at its release; what it reports by now it was rendered as since
	}
	again := p.RollState == runbook.StateConflictPaused && p.DeviceState == p.RollState && reported != p.Reported
	if p.DeviceState == runbook.StateAwaitingReconnect || p.DeviceState == p.RollState && !again {
		return p.stands(), nil
	}
	r.target, r.From, r.To, r.Restored, r.Reported = p.target, p.RollState, p.DeviceState, p.Restored, reported
	switch {
	case again:
		r.Transition, r.Reason = runbook.Reported, "the device has told Flight Control another version"
	case p.RollState == runbook.StateConflictPaused:
		r.Transition, r.Reason, r.Next = runbook.T4, "Flight Control has resumed it", p.renderedNext()
	case p.DeviceState == runbook.StateConflictPaused:
		r.Transition, r.Reason = runbook.T3, "Flight Control has paused it"
	default:
		r.Transition, r.Reason = runbook.T2, "Flight Control has released it"
		if p.unrendered() {
			why, err := p.whyUnrendered(ctx, tx)
			if err != nil {
				return Transitioned{}, err
			}
			r.Reason = withReason(r.Reason, why)
		}
	}
	if !readable {
		if err := p.warnUnreadable(ctx, tx, &r); err != nil {
			return Transitioned{}, err
		}
	}
	if err := r.adopted(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	if err := tx.GetContext(ctx, &r.At, `select now()`); err != nil {
		return Transitioned{}, fmt.Errorf("read the time: %w", err)
	}
	return r.result(true), r.write(ctx, tx)
}

// The restored version stays as T1 found it: what the annotation says by now, Flight Control may have rendered since.
const adoptEntry = `
update rollcall.roll set state = :to_state, since = case when state = :to_state then since else now() end,
reported_version = :reported_version, next_version = nullif(:next_version, ''),
    resumed_by = case when :transition = 'T4' then :actor else resumed_by end,
    resumed_reason = case when :transition = 'T4' then :reason else resumed_reason end,
    resumed_at = case when :transition = 'T4' and decided_version is null then now() else resumed_at end
where restore_id = :restore_id and org_id = :org_id and name = :name`

func (r record) adopted(ctx context.Context, tx *sqlx.Tx) error {
	if _, err := tx.NamedExecContext(ctx, adoptEntry, r); err != nil {
		return fmt.Errorf("write where it stands: %w", err)
	}
	return nil
}

// flightctlReported is what the device has told Flight Control that it runs, in the stored form; empty where that is
// not known. readable is false where Flight Control could not read it and took it for 0.
func (p position) flightctlReported() (version string, readable bool) {
	if !p.Configured {
		return "", true
	}
	return runbook.FlightctlVersion(p.Running)
}

// warnUnreadable says in the record and in an event that Flight Control went by a version that it could not read.
func (p position) warnUnreadable(ctx context.Context, tx *sqlx.Tx, r *record) error {
	text := fmt.Sprintf("Flight Control could not read the reported version %.60q and took it for 0: check what the "+
		"device runs", p.Running)
	r.Reason = withReason(r.Reason, text)
	return notice{
		OrgID: p.OrgID, Kind: KindDevice, Name: p.Name, Reason: runbook.ReasonDeviceVersionUnread, Type: eventWarning,
		Actor: ActorService, Message: text,
	}.write(ctx, tx)
}

// renderedNext is the version that the device gets next: what Flight Control has rendered by now, or will.
func (p position) renderedNext() string {
	now, err := runbook.ParseVersion(p.Annotated)
	if then, thenErr := runbook.ParseVersion(p.Restored); err == nil && thenErr == nil && now > then {
		return now.String()
	}
	next, err := runbook.NextVersion(p.Restored, p.Running)
	if err != nil {
		return "" // a version that cannot be read, or none left above: there is nothing to tell
	}
	return next.String()
}

// Moved is an entry of the audit: that something happened to a device.
type Moved struct {
	ID    int64  `db:"id"`
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
	// RestoreID is the restore whose roll call it belongs to.
	RestoreID string `db:"restore_id"`
	// Transition is what happened; T1 is the beginning of a roll call, all others are what came of something.
	Transition runbook.Transition `db:"transition"`
}

// IDs is a range of numbers of the audit's entries, both ends included.
type IDs struct {
	From, To int64
}

// After is every number past id.
func After(id int64) IDs { return IDs{From: id + 1, To: math.MaxInt64} }

// LastMove is the number of the newest entry of the audit, 0 where there is none. One with a lower number may still
// become visible after it.
func (s *Store) LastMove(ctx context.Context) (id int64, err error) {
	if err := s.db.GetContext(ctx, &id, `select coalesce(max(id), 0) from rollcall.transitions`); err != nil {
		return 0, fmt.Errorf("read the newest transition: %w", err)
	}
	return id, nil
}

// Moves reads the entries of the audit in these ranges, by number, in one statement.
func (s *Store) Moves(ctx context.Context, ranges []IDs) ([]Moved, error) {
	from, to := make(pq.Int64Array, len(ranges)), make(pq.Int64Array, len(ranges))
	for i, r := range ranges {
		from[i], to[i] = r.From, r.To
	}
	var moves []Moved
	err := s.db.SelectContext(ctx, &moves, `
select t.id, t.org_id, t.name, t.restore_id, t.transition
from unnest(cast($1 as bigint[]), cast($2 as bigint[])) as g (lo, hi) join rollcall.transitions t on t.id between g.lo
and g.hi
order by t.id`, from, to)
	if err != nil {
		return nil, fmt.Errorf("read the newest transitions: %w", err)
	}
	return moves, nil
}
