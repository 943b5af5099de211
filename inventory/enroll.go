package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory/known"
	"rollcall/runbook"
)

// firstStatus is the status of a device that has sent none, as Flight Control's approval makes it, with what the
// request says of the device's system.
const firstStatus = `cast('{"conditions": [{"type": "Updating", "status": "Unknown", "message": "", "reason": "",
        "lastTransitionTime": "0001-01-01T00:00:00Z"}],
    "applications": [], "applicationsSummary": {"status": "Unknown"}, "config": {"renderedVersion": ""},
    "os": {"image": "", "imageDigest": ""}, "resources": {"cpu": "Unknown", "memory": "Unknown", "disk": "Unknown"},
    "integrity": {"status": "Unsupported", "info": "TPM not present or not enabled on this device",
        "deviceIdentity": {"status": "Unsupported"}, "tpm": {"status": "Unsupported"}}}' as jsonb)
    || coalesce((select jsonb_build_object('systemInfo', r.spec -> 'deviceStatus' -> 'systemInfo')
        from enrollment_requests r where r.org_id = $1 and r.name = $2
          and jsonb_typeof(r.spec -> 'deviceStatus' -> 'systemInfo') = 'object'), '{}')`

// insertDevice makes the device of an approval. Triggers make the row of when it was seen, and those of its labels. A
// device that is deleted is over, and what takes its place has nothing of it, but that versions count on.
const insertDevice = `
insert into devices as d (org_id, name, labels, annotations, generation, resource_version, created_at, updated_at, spec,
status, alias)
values ($1, $2, cast($3 as jsonb), cast($4 as jsonb), 1, 1, now(), now(), '{}',
` + firstStatus + ` || cast($5 as jsonb), nullif($6, ''))
on conflict (org_id, name) do update set
    owner = null, labels = excluded.labels, annotations = excluded.annotations,
    generation = coalesce(d.generation, 0) + 1, resource_version = coalesce(d.resource_version, 0) + 1,
    created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = null,
    alias = excluded.alias, spec = excluded.spec, status = excluded.status, service_conditions = null,
    rendered_config = null, render_timestamp = null, rendered_applications = null, rendered_os = null
where d.deleted_at is not null`

// unseeDevice is for a device that takes the place of a deleted one, which has been seen.
const unseeDevice = `
insert into device_timestamps (org_id, name) values ($1, $2) on conflict (org_id, name) do update set last_seen = null`

// decideRequest writes a decision on its request: the approval, and the one condition that it makes true. The
// annotation of the restore leaves a request that is approved; all else stays.
const decideRequest = `
update enrollment_requests e set
    annotations = case when $3 then rollcall.object(e.annotations) - 'device-controller/awaitingReconnect'
        else e.annotations end,
    status = rollcall.object(e.status) || jsonb_build_object(
        'approval', jsonb_build_object('approved', $3, 'approvedBy', cast($4 as text), 'approvedAt', cast($5 as text),
        'labels', cast($6 as jsonb)),
        'conditions', coalesce((
            select jsonb_agg(c.value order by c.ordinality)
            from jsonb_array_elements(case jsonb_typeof(e.status -> 'conditions') when 'array' then e.status ->
            'conditions' else '[]' end)
                with ordinality c
            where coalesce(c.value ->> 'type', '') not in ('Approved', 'Denied')), '[]')
            || jsonb_build_object('type', cast($7 as text), 'status', 'True', 'reason', cast($8 as text), 'message',
            cast($9 as text),
                'lastTransitionTime', cast($5 as text))),
    resource_version = coalesce(e.resource_version, 0) + 1,
    updated_at = now()
where e.org_id = $1 and e.name = $2`

// Reasons of the conditions, as machines read them.
const (
	manuallyApproved = "ManuallyApproved"
	manuallyDenied   = "ManuallyDenied"
)

// approve carries out an approval on locked rows.
func (e enrollment) approve(ctx context.Context, tx *sqlx.Tx, in ApproveInput, state runbook.State) (Decided, error) {
	labels := runbook.EnrolledLabels(stringsOf(e.Asked), in.Labels, in.ReplaceLabels)
	made, err := e.makeDevice(ctx, tx, in, labels, state)
	if err != nil {
		return Decided{}, err
	}
	if !made { // it came into being after the request was locked
		e.DeviceExists = true
		return e.refuse(ctx, tx, runbook.AsRefusal(runbook.MayApprove(e.stands(), in.Name)))
	}
	r := e.asked
	r.Transition, r.To = runbook.Approved, state
	if e.restore != nil && state == runbook.StateAwaitingReconnect {
		if r.From, err = e.joinRoll(ctx, tx); err != nil {
			return Decided{}, err
		}
		r.Transition = runbook.T1
	}
	if r.At, err = e.write(ctx, tx, true, labels, manuallyApproved); err != nil {
		return Decided{}, err
	}
	if err := r.write(ctx, tx); err != nil {
		return Decided{}, err
	}
	warning, err := e.acceptKey(ctx, tx)
	if err != nil {
		return Decided{}, err
	}
	message := fmt.Sprintf("Approved by %s, the device begins %s%s", in.By, state, warning)
	return e.answered(r), e.tell(ctx, tx, runbook.ReasonEnrollmentApproved, withReason(message, in.Reason))
}

// deny carries out a denial on locked rows.
func (e enrollment) deny(ctx context.Context, tx *sqlx.Tx, in DenyInput) (Decided, error) {
	r := e.asked
	r.Transition = runbook.Denied
	var err error
	if r.At, err = e.write(ctx, tx, false, nil, manuallyDenied); err != nil {
		return Decided{}, err
	}
	if err := r.write(ctx, tx); err != nil {
		return Decided{}, err
	}
	if err := e.forgetKey(ctx, tx); err != nil {
		return Decided{}, err
	}
	return e.answered(r), e.tell(ctx, tx, runbook.ReasonResourceUpdated, withReason("Denied by "+in.By, in.Reason))
}

// makeDevice inserts the device; made is false where there is one already. Of the request's annotations it has only the
// one that says that it awaits its reconnect.
func (e enrollment) makeDevice(
	ctx context.Context, tx *sqlx.Tx, in ApproveInput, labels map[string]string, state runbook.State,
) (made bool, err error) {
	annotations := map[string]string{}
	status := patch{
		"summary":   {"status": runbook.SummaryOnline},
		"updated":   {"status": runbook.UpdatedUpToDate}, // nothing is rendered for it, and it runs nothing
		"lifecycle": {"status": "Enrolled"},
	}
	if e.OSMode != "" {
		status["capabilities"] = map[string]string{"osMode": e.OSMode}
	}
	if state == runbook.StateAwaitingReconnect {
		annotations[runbook.AnnotationAwaitingReconnect] = runbook.AnnotationTrue
		status["summary"] = map[string]string{"status": string(state), "info": runbook.InfoAwaitingReconnect}
		status["updated"] = map[string]string{"status": runbook.UpdatedUnknown}
	}
	result, err := tx.ExecContext(ctx, insertDevice, in.OrgID, in.Name, marshalStrings(labels),
		marshalStrings(annotations), status.json(), labels[runbook.LabelAlias])
	if err != nil {
		return false, fmt.Errorf("write the device: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("write the device: %w", err)
	}
	if n == 0 {
		return false, nil
	}
	if _, err := tx.ExecContext(ctx, unseeDevice, in.OrgID, in.Name); err != nil {
		return false, fmt.Errorf("write that the device was not seen: %w", err)
	}
	return true, nil
}

// joinRoll puts the device on the roll of the restore that runs (T1), which is locked and therefore stays the current
// one. It returns where the device stood there: a device that was on this roll before and left comes back to its old
// place, so that the roll never loses a row nor counts a device twice.
func (e enrollment) joinRoll(ctx context.Context, tx *sqlx.Tx) (from runbook.State, err error) {
	id, orgID, name := e.restore.ID, e.asked.OrgID, e.asked.Name
	err = tx.GetContext(ctx, &from,
		`select state from rollcall.roll where restore_id = $1 and org_id = $2 and name = $3 for no key update`, id, orgID,
		name)
	if err == nil {
		_, err = tx.ExecContext(ctx, `
			update rollcall.roll set state = $4, since = now(), fleet = '', restored_version = '', reported_version = null,
			next_version = null,
				superseded = false, resumed_by = null, resumed_reason = null, resumed_at = null, noted_version = null,
				batch = $5, wave = 0, carried_version = null, decided_version = null, rendered_before = null, sent_at = null,
				sent_id = null, seen_version = null, restored_generation = null, repairs = null,
				status_version = null, status_at = null
			where restore_id = $1 and org_id = $2 and name = $3`, id, orgID, name,
			runbook.StateAwaitingReconnect, runbook.LateBatch)
	} else if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, `
			with added as (
				insert into rollcall.roll (restore_id, org_id, name, seq, state, batch, wave)
				select $1, $2, $3, coalesce(max(seq) + 1, 0), $4, $5, 0 from rollcall.roll where restore_id = $1
				returning restore_id)
			update rollcall.restores s set total = s.total + 1 from added where s.id = added.restore_id`,
			id, orgID, name, runbook.StateAwaitingReconnect, runbook.LateBatch)
	}
	if err != nil {
		return "", fmt.Errorf("put the device on the roll of restore %s: %w", id, err)
	}
	_, err = tx.ExecContext(ctx, `
		update rollcall.roll set superseded = true
		where org_id = $2 and name = $3 and restore_id <> $1 and state in ($4, $5) and not superseded`,
		id, orgID, name, runbook.StateAwaitingReconnect, runbook.StateConflictPaused)
	if err != nil {
		return "", fmt.Errorf("take the device off older rolls: %w", err)
	}
	return from, nil
}

// write writes the decision on the request, and says when that was.
func (e enrollment) write(
	ctx context.Context, tx *sqlx.Tx, approved bool, labels map[string]string, reason string,
) (time.Time, error) {
	var at time.Time
	if err := tx.GetContext(ctx, &at, `select now()`); err != nil {
		return at, fmt.Errorf("read the time: %w", err)
	}
	kind, message := string(runbook.EnrollmentApproved), withReason("Approved by "+e.asked.Actor, e.asked.Reason)
	if !approved {
		kind, message = string(runbook.EnrollmentDenied), withReason("Denied by "+e.asked.Actor, e.asked.Reason)
	}
	_, err := tx.ExecContext(ctx, decideRequest, e.asked.OrgID, e.asked.Name, approved, e.asked.Actor,
		at.UTC().Format(time.RFC3339),
		marshalStrings(orEmpty(labels)), kind, reason, message)
	if err != nil {
		return at, fmt.Errorf("write the decision: %w", err)
	}
	return at, nil
}

func (e enrollment) tell(ctx context.Context, tx *sqlx.Tx, reason, message string) error {
	return notice{
		OrgID: e.asked.OrgID, Kind: KindEnrollmentRequest, Name: e.asked.Name, Reason: reason, Type: eventNormal,
		Actor: eventActor(e.asked.Actor), Message: message,
	}.write(ctx, tx)
}

// stringsOf reads the strings of a JSON object, and passes over what is none.
func stringsOf(object []byte) map[string]string {
	var fields map[string]any
	_ = json.Unmarshal(object, &fields) // what is no object holds no strings
	read := map[string]string{}
	for name, value := range fields {
		if text, ok := value.(string); ok {
			read[name] = text
		}
	}
	return read
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// DecisionStandsInput names a decision about an enrollment request; At is when it was taken, zero where that is not
// known.
type DecisionStandsInput struct {
	OrgID, Name string
	At          time.Time
}

// The audit has each decision since it was taken, unless the database was put back to before that. Where the time is
// not known, a request that is pending was not decided.
var selectDecisionStands = `
select case when cast($3 as timestamptz) is null
    then not exists (select from enrollment_requests e where e.org_id = $1 and e.name = $2 and e.deleted_at is null
        and ` + requestState("e") + ` = 'Pending')
    else exists (select from rollcall.transitions t where t.org_id = $1 and t.name = $2 and t.at = $3
        and ` + known.Decided + `) end`

// DecisionStands reports whether the database knows a decision about an enrollment request.
func (s *Store) DecisionStands(ctx context.Context, in DecisionStandsInput) (stands bool, err error) {
	var at *time.Time
	if !in.At.IsZero() {
		at = &in.At
	}
	if err := s.db.GetContext(ctx, &stands, selectDecisionStands, in.OrgID, in.Name, at); err != nil {
		return false, fmt.Errorf("look for the decision about enrollment request %s: %w", in.Name, err)
	}
	return stands, nil
}
