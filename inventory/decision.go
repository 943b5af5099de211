package inventory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// decisionColumns are what a roll r holds of a human's resume that Flight Control carries out. Whose a resume was that
// shows in Flight Control's events, the request id there tells: ours begins with resumeIDs.
const decisionColumns = `coalesce(r.decided_version, '') as decided_version, coalesce(r.rendered_before,
	'') as rendered_before, extract(epoch from now() - r.sent_at) as asked,
    coalesce(r.sent_id, '') as sent_id, coalesce(r.repairs, 0) as repairs, ` + specChanged + ` as changed, coalesce((
        select bool_and(not starts_with(coalesce(e.annotations ->> 'event-controller/requestID', ''),
        '` + resumeIDs + `'))
        from events e
        where r.sent_at is not null and e.org_id = r.org_id and e.involved_object_kind = 'Device'
        and e.involved_object_name = r.name
          and e.reason = '` + runbook.ReasonDeviceConflictResolved + `'
          	and e.created_at > r.resumed_at - interval '1 minute'
          and coalesce(e.source_component, '') <> 'rollcall'), false) as theirs`

// specChanged is a condition on a row r of the roll of a restore s: the device's spec was changed while it waited, and
// Flight Control has rendered nothing since. It raises a device's generation with each change of its spec. Its worker
// drops what is due for a device that waits, and T2 queues nothing.
//
// It renders some devices itself, and those are left to it. For one by whose fleet's template it has yet to be rendered
// its periodic service queues the rendering again every 30 s, whether or not the fleet has a disruption budget
// (ListDisruptionBudgetFleets in its internal/store/fleet, reconcileFleet in its internal/rollout/disruption_budget).
// Where there is a budget, only that service may say whose turn it is.
const specChanged = `exists (
        select from devices c
        left join fleets f on f.org_id = c.org_id and c.owner like 'Fleet/%' and f.name = substr(c.owner, 7)
          and f.deleted_at is null
        where s.mode = 'flightctl' and r.state = 'AwaitingReconnect' and c.org_id = r.org_id and c.name = r.name
          and c.generation > r.restored_generation
          and coalesce(c.annotations ->> '` + runbook.AnnotationRenderedVersion + `', '') = r.restored_version
          and not coalesce(jsonb_typeof(f.spec -> 'rolloutPolicy' -> 'disruptionBudget') = 'object'
            or f.annotations ->> '` + runbook.AnnotationTemplateVersion + `' =
                c.annotations ->> '` + runbook.AnnotationTemplateVersion + `'
              and c.annotations ->> '` + runbook.AnnotationTemplateVersion + `' <>
                coalesce(c.annotations ->> '` + runbook.AnnotationRenderedTemplateVersion + `', ''), false))`

// resumeIDs begins the request ids of our resumes.
const resumeIDs = "rollcall-resume-"

// ResumeID is the request id by which a call of Flight Control's resume is found again.
func ResumeID(unique string) string { return resumeIDs + unique }

// mayDecide refuses a resume that Flight Control could not carry out as the human sees it.
func (p position) mayDecide() *runbook.Refusal {
	switch {
	case p.Mode != runbook.ModeFlightctl || p.RollState != runbook.StateConflictPaused || p.ResumedBy != "":
		return nil
	case p.DeviceState == runbook.StateNormal:
		return runbook.Refuse(runbook.CodeAlreadyResumed,
			"Flight Control has resumed the device already, for someone else; nothing was changed")
	case !p.renderable():
		return runbook.Unrenderable(p.Name, p.Annotated)
	case p.DeviceState == runbook.StateConflictPaused && p.Reported == "":
		return runbook.Refuse(runbook.CodeVersionUnknown,
			"Flight Control has not stored which version the device runs, and would render below it; resume it once the "+
				"device has sent its next status")
	}
	return nil
}

// mayRunPlan refuses a resume that comes from a plan which is held, has ended or has not begun the device's wave, or is
// another restore's. It locks a running plan until the resume is written, so that whoever ends the plan sees every
// resume.
func (p position) mayRunPlan(ctx context.Context, tx *sqlx.Tx, decisionID string) (*runbook.Refusal, error) {
	plan, ok := strings.CutPrefix(decisionID, PlanDecision(""))
	if !ok {
		return nil, nil
	}
	var asks []bool
	err := tx.SelectContext(ctx, &asks, `
select p.state = $5 and (p.waves_asked is null or d.wave < p.waves_asked)
from rollcall.plans p join rollcall.plan_devices d on d.plan_id = p.id and d.org_id = $3 and d.name = $4
where p.id = $1 and p.restore_id = $2 and p.state in ($5, $6) for share of p`,
		plan, p.RestoreID, p.OrgID, p.Name, runbook.PlanRunning, runbook.PlanHeld)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look whether plan %s runs: %w", plan, err)
	case len(asks) == 0:
		return runbook.Refuse(runbook.CodeNotInPlan,
			"plan %s has ended, is not restore %s's, or does not hold device %s; nothing was changed", plan, p.RestoreID,
			p.Name), nil
	case !asks[0]:
		return runbook.PlanWaits(plan, p.Name), nil
	}
	return nil, nil
}

// renderable reports whether Flight Control can read the version from which it counts on.
func (p position) renderable() bool {
	_, readable := runbook.FlightctlVersion(p.Annotated)
	return readable
}

// decide records a human's resume, before Flight Control is asked for it. Only one is recorded at a time.
func (p position) decide(ctx context.Context, tx *sqlx.Tx, in ResumeInput, next runbook.Version) (Transitioned, error) {
	r := record{
		target: p.target, Transition: runbook.Decided, From: p.RollState, To: p.RollState, Restored: p.Restored,
		Reported: p.Reported,
		Next:     next.String(), Signal: runbook.SignalResume, Actor: in.By, Reason: in.Reason, RequestID: in.RequestID,
		At: p.Since, Who: in.Who,
	}
	_, err := tx.NamedExecContext(ctx, `
update rollcall.roll set resumed_by = :actor, resumed_reason = :reason, resumed_at = now(),
decided_version = :reported_version,
    rendered_before = (select d.annotations ->> '`+runbook.AnnotationRenderedVersion+`' from devices d
    	where d.org_id = :org_id and d.name = :name),
    next_version = :next_version, sent_at = null, sent_id = null, repairs = null
where restore_id = :restore_id and org_id = :org_id and name = :name`, r)
	if err != nil {
		return Transitioned{}, fmt.Errorf("record the decision: %w", err)
	}
	return r.result(true), r.write(ctx, tx)
}

// decision is what is known of a device whose resume was decided.
func (p position) decision() runbook.Decision {
	d := runbook.Decision{
		State: p.DeviceState, About: p.DecidedVersion, Before: p.RenderedBefore, Rendered: p.Annotated,
		Theirs: p.Theirs, Repairs: p.Repairs,
	}
	d.Reported, _ = p.flightctlReported()
	if d.Reported == "" {
		d.Reported = p.Reported
	}
	d.Asked = p.asked()
	return d
}

// asked is how long ago Flight Control was asked to resume the device; nil if never.
func (p position) asked() *time.Duration {
	if p.Asked == nil {
		return nil
	}
	asked := time.Duration(*p.Asked * float64(time.Second))
	return &asked
}

// followDecision has the roll follow what Flight Control has made of a human's resume.
func (p position) followDecision(ctx context.Context, tx *sqlx.Tx, r record) (Transitioned, error) {
	d := p.decision()
	r.target, r.From, r.To, r.Restored, r.Reported = p.target, p.RollState, runbook.StateNormal, p.Restored, d.Reported
	switch d.Next() {
	case runbook.StepDone:
		r.Transition, r.Actor, r.Reason, r.Next = runbook.T4, p.ResumedBy, p.ResumedReason, p.Annotated
		decided, err := readRecord(ctx, tx, selectRecord+`and transition = $4 order by id desc limit 1`, p.target,
			runbook.Decided)
		if err != nil {
			return Transitioned{}, err
		}
		if decided != nil {
			r.Who = decided.Who
		}
	case runbook.StepTheirs:
		r.Transition, r.Reason, r.Next = runbook.T4, "Flight Control has resumed it", p.renderedNext()
	case runbook.StepVoid:
		r.Reason = withReason("the device reports version "+d.Reported+" now and the decision was about "+d.About,
			"look at it and resume it again")
		return p.drop(ctx, tx, r)
	case runbook.StepBelow:
		r.Reason = fmt.Sprintf("Flight Control rendered version %s, and the device runs %s and ignores it: it is paused "+
			"again, resume it again", p.Annotated, d.About)
		if err := p.pauseAgain(ctx, tx); err != nil {
			return Transitioned{}, err
		}
		warning := notice{
			OrgID: p.OrgID, Kind: KindDevice, Name: p.Name, Reason: runbook.ReasonDeviceConflictPaused,
			Type: eventWarning, Actor: ActorService, Message: r.Reason,
		}
		if err := warning.write(ctx, tx); err != nil {
			return Transitioned{}, err
		}
		return p.drop(ctx, tx, r)
	default:
		return p.stands(), nil
	}
	if err := r.adopted(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	return p.recorded(ctx, tx, r)
}

// drop takes a decision back that does not count any more. The device stays paused, for a human to look at it again.
func (p position) drop(ctx context.Context, tx *sqlx.Tx, r record) (Transitioned, error) {
	r.Transition, r.To, r.Actor = runbook.Dropped, p.RollState, ActorService
	_, err := tx.NamedExecContext(ctx, `
update rollcall.roll set resumed_by = null, resumed_reason = null, resumed_at = null, decided_version = null,
sent_at = null,
    sent_id = null, repairs = null, next_version = null, reported_version = :reported_version
where restore_id = :restore_id and org_id = :org_id and name = :name`, r)
	if err != nil {
		return Transitioned{}, fmt.Errorf("drop the decision: %w", err)
	}
	return p.recorded(ctx, tx, r)
}

func (p position) recorded(ctx context.Context, tx *sqlx.Tx, r record) (Transitioned, error) {
	if err := tx.GetContext(ctx, &r.At, `select now()`); err != nil {
		return Transitioned{}, fmt.Errorf("read the time: %w", err)
	}
	result := r.result(true)
	result.Reason = r.Reason
	return result, r.write(ctx, tx)
}

// pauseAgain puts the annotation back that Flight Control's resume looks for.
func (p position) pauseAgain(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `
update devices set annotations = rollcall.object(annotations) || jsonb_build_object(cast($3 as text), cast($4 as text)),
    resource_version = coalesce(resource_version, 0) + 1
where org_id = $1 and name = $2`, p.OrgID, p.Name, runbook.AnnotationConflictPaused, runbook.AnnotationTrue)
	if err != nil {
		return fmt.Errorf("pause the device again: %w", err)
	}
	return nil
}

// release is what is known of a device that Flight Control has compared.
func (p position) release() runbook.Release {
	_, readable := p.flightctlReported()
	renderable := readable && p.renderable() // otherwise Flight Control cannot say which version comes next
	return runbook.Release{State: p.DeviceState, Rendered: !p.unrendered() || !renderable, Asked: p.asked()}
}

// unrendered reports whether Flight Control has yet to render a device that it has released: never yet, or not since
// its spec was changed.
func (p position) unrendered() bool { return p.Annotated == "" || p.Changed }

// whyUnrendered says for people what is left to do where Flight Control has not rendered a device.
func (p position) whyUnrendered(ctx context.Context, tx *sqlx.Tx) (string, error) {
	why := "it has not rendered it: look at its spec, and edit it"
	if p.Changed {
		why = "it has not rendered the spec that was changed while the device waited: look at it, and edit it"
	}
	invalid, err := specInvalid(ctx, tx, p.OrgID, p.Name)
	return withInvalid(why, invalid), err
}

// withInvalid adds what Flight Control says of a spec that it cannot render.
func withInvalid(text, invalid string) string {
	if invalid == "" {
		return text
	}
	return text + "; Flight Control cannot render its spec: " + invalid
}

const selectSpecInvalid = `
select left(coalesce(nullif(c.entry ->> 'message', ''), nullif(c.entry ->> 'reason', ''), 'Invalid'), 4000)
from devices d, jsonb_array_elements(case jsonb_typeof(d.service_conditions -> 'conditions') when 'array'
    then d.service_conditions -> 'conditions' else '[]' end) c (entry)
where d.org_id = $1 and d.name = $2 and c.entry ->> 'type' = 'SpecValid' and c.entry ->> 'status' = 'False' limit 1`

// specInvalid reads what Flight Control says of a device's spec that it cannot render; empty where it could render it
// last, or has not tried.
func specInvalid(ctx context.Context, db sqlx.QueryerContext, orgID, name string) (string, error) {
	var messages []string
	if err := sqlx.SelectContext(ctx, db, &messages, selectSpecInvalid, orgID, name); err != nil {
		return "", fmt.Errorf("read whether the spec of device %s is valid: %w", name, err)
	}
	if len(messages) == 0 {
		return "", nil
	}
	return runbook.SpecInvalid(messages[0]), nil
}

// SpecInvalid reads what Flight Control says of a device's spec that it cannot render, at most 500 characters; empty
// where it could render it last, or has not tried.
func (s *Store) SpecInvalid(ctx context.Context, orgID, name string) (string, error) {
	return specInvalid(ctx, s.db, orgID, name)
}

// DecidedDevice is a device whose resume was decided and is not done.
type DecidedDevice struct {
	OrgID string
	Name  string
	Next  runbook.DecisionStep
}

// Decisions reads the devices of a running restore whose resume Flight Control has yet to carry out, in the order of
// the decisions, and what comes next for each. Devices that are gone are left to the inventory watch.
func (s *Store) Decisions(ctx context.Context, restoreID string) ([]DecidedDevice, error) {
	var rows []position
	err := s.db.SelectContext(ctx, &rows, `
select r.restore_id, r.org_id, r.name, rollcall.device_state(d.annotations) as device_state,
coalesce(d.annotations ->> $2, '') as annotated,
    coalesce(d.status -> 'config' ->> 'renderedVersion', '') as running,
    d.status -> 'config' ->> 'renderedVersion' is not null as configured,
    r.state as roll_state, r.restored_version as restored, coalesce(r.reported_version, '') as reported, s.mode,
    `+decisionColumns+`
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id and s.state = $3
join devices d on d.org_id = r.org_id and d.name = r.name and d.deleted_at is null
where r.restore_id = $1 and r.state = $4 and r.decided_version is not null and not r.superseded
  and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all ($5)
order by r.resumed_at, r.seq`, restoreID, runbook.AnnotationRenderedVersion, runbook.RestoreRunning,
		runbook.StateConflictPaused, ineligible)
	if err != nil {
		return nil, fmt.Errorf("read the decisions of restore %s: %w", restoreID, err)
	}
	decided := make([]DecidedDevice, len(rows))
	for i, p := range rows {
		decided[i] = DecidedDevice{OrgID: p.OrgID, Name: p.Name, Next: p.decision().Next()}
	}
	return decided, nil
}

// Releases reads the devices of a running restore that Flight Control has compared and not rendered: never yet, or not
// since their spec was changed while they waited. They are in the order of the roll, with what comes next for each.
func (s *Store) Releases(ctx context.Context, restoreID string) ([]DecidedDevice, error) {
	var rows []position
	err := s.db.SelectContext(ctx, &rows, `
select r.restore_id, r.org_id, r.name, rollcall.device_state(d.annotations) as device_state,
coalesce(d.annotations ->> $2, '') as annotated,
    coalesce(d.status -> 'config' ->> 'renderedVersion', '') as running,
    d.status -> 'config' ->> 'renderedVersion' is not null as configured,
    `+decisionColumns+`
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id and s.state = $3 and s.mode = $6
join devices d on d.org_id = r.org_id and d.name = r.name and d.deleted_at is null
where r.restore_id = $1 and r.state = $4 and not r.superseded and rollcall.device_state(d.annotations) <> $4
  and (r.sent_at is not null or coalesce(d.annotations ->> $2, '') = ''
    or d.generation > r.restored_generation and `+specChanged+`)
  and coalesce(d.status -> 'lifecycle' ->> 'status', '') <> all ($5)
order by r.seq`, restoreID, runbook.AnnotationRenderedVersion, runbook.RestoreRunning, runbook.StateAwaitingReconnect,
		ineligible,
		runbook.ModeFlightctl)
	if err != nil {
		return nil, fmt.Errorf("read who Flight Control has compared and not rendered in restore %s: %w", restoreID, err)
	}
	released := make([]DecidedDevice, len(rows))
	for i, p := range rows {
		released[i] = DecidedDevice{OrgID: p.OrgID, Name: p.Name, Next: p.release().Next()}
	}
	return released, nil
}

// PauseReleased pauses a device that Flight Control has released and not rendered, so that it can be asked to resume
// it, which renders it. It changes nothing where that is not so any more. What the device has reported at its release
// is noted on the roll: it soon reports what is rendered now.
func (s *Store) PauseReleased(ctx context.Context, in RepairInput, requestID string) error {
	_, err := s.decideLocked(ctx, "repair", "", target(in), "", func(tx *sqlx.Tx, p position) (Transitioned, error) {
		if p.fence() != nil || p.gone() || p.RollState != runbook.StateAwaitingReconnect ||
			p.release().Next() != runbook.StepRepair {
			return p.stands(), nil
		}
		reason := "Flight Control has released it and never rendered it: it is paused and resumed"
		if p.Changed {
			reason = "its spec was changed while it waited, and Flight Control has released it and not rendered that: it is " +
				"paused and resumed"
		}
		p.Reported, _ = p.flightctlReported()
		return p.repaired(ctx, tx, requestID, reason)
	})
	return err
}

// Asking notes that Flight Control is asked now, with this request id, to resume these devices, and returns those of
// them for which the decision still counts: the restore runs, and the device is paused and reports what the human
// decided about. Only versions in the stored form are compared; Decisions has read the others.
func (s *Store) Asking(
	ctx context.Context, restoreID, orgID string, names []string, requestID string,
) (asked []string, err error) {
	err = s.db.SelectContext(ctx, &asked, `
update rollcall.roll r set sent_at = now(), sent_id = $4
from devices d
where r.restore_id = $1 and r.org_id = $2 and r.name = any ($3) and r.state = $5 and r.decided_version is not null
and not r.superseded
  and exists (select from rollcall.restores s where s.id = r.restore_id and s.state = $6)
  and d.org_id = r.org_id and d.name = r.name and d.deleted_at is null and rollcall.device_state(d.annotations) = $5
  and (coalesce(nullif(d.status -> 'config' ->> 'renderedVersion', ''), r.decided_version) = r.decided_version
    or d.status -> 'config' ->> 'renderedVersion' !~ '^(0|[1-9][0-9]*)$')
returning r.name`,
		restoreID, orgID, pq.StringArray(names), requestID, runbook.StateConflictPaused, runbook.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("note that Flight Control is asked to resume %d devices: %w", len(names), err)
	}
	return asked, nil
}

// NotAsked takes back what Asking has noted with this request id, because Flight Control could not be asked: the
// devices are asked for again as soon as it can be. That they were asked for before stays known.
func (s *Store) NotAsked(ctx context.Context, restoreID, orgID string, names []string, requestID string) error {
	_, err := s.db.ExecContext(ctx, `
update rollcall.roll set sent_at = sent_at - make_interval(secs => $5)
where restore_id = $1 and org_id = $2 and name = any ($3) and sent_id = $4`,
		restoreID, orgID, pq.StringArray(names), requestID, runbook.AskAgainAfter.Seconds())
	if err != nil {
		return fmt.Errorf("note that Flight Control could not be asked to resume %d devices: %w", len(names), err)
	}
	return nil
}

// RepairInput names a device that Flight Control has resumed and not rendered.
type RepairInput struct {
	RestoreID, OrgID, Name string
}

// Repair pauses a device again that Flight Control has resumed and not rendered, so that it can be asked again. It
// changes nothing where that is not so any more.
func (s *Store) Repair(ctx context.Context, in RepairInput) error {
	_, err := s.decideLocked(ctx, "repair", "", target(in), "", func(tx *sqlx.Tx, p position) (Transitioned, error) {
		if p.fence() != nil || p.gone() || p.RollState != runbook.StateConflictPaused ||
			p.DecidedVersion == "" || p.decision().Next() != runbook.StepRepair {
			return p.stands(), nil
		}
		return p.repaired(ctx, tx, "",
			"Flight Control has resumed it and not rendered it: it is paused and resumed again")
	})
	return err
}

// repaired pauses a device that Flight Control has not rendered, and notes with which request id it is asked now to
// resume it; empty is that it is yet to be asked. Where Flight Control says why it could not render the device, so does
// the audit.
func (p position) repaired(ctx context.Context, tx *sqlx.Tx, sentID, reason string) (Transitioned, error) {
	if err := p.pauseAgain(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	_, err := tx.ExecContext(ctx, `
update rollcall.roll set sent_id = nullif($4, ''), sent_at = case when $4 <> '' then now() end,
    repairs = coalesce(repairs, 0) + 1, reported_version = coalesce(nullif($5, ''), reported_version)
where restore_id = $1 and org_id = $2 and name = $3`, p.RestoreID, p.OrgID, p.Name, sentID, p.Reported)
	if err != nil {
		return Transitioned{}, fmt.Errorf("note whether Flight Control is asked to resume the device: %w", err)
	}
	invalid, err := specInvalid(ctx, tx, p.OrgID, p.Name)
	if err != nil {
		return Transitioned{}, err
	}
	return p.recorded(ctx, tx, record{
		target: p.target, Transition: runbook.Repaired, From: p.RollState, To: p.RollState, Restored: p.Restored,
		Reported: p.Reported, Actor: ActorService, Reason: withInvalid(reason, invalid),
	})
}
