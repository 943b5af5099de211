package inventory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"

	"rollcall/inventory/selector"
	"rollcall/runbook"
)

// DevicePosition is where a device stands in the roll call: what a resume decides about, and what describe shows.
type DevicePosition struct {
	OrgID string `json:"orgId"`
	Name  string `json:"name"`
	// Fleet is the name of the owning fleet, or empty.
	Fleet string `json:"fleet,omitempty"`
	// State is by the device's annotations; only a withdrawal, which leaves these alone, is by the roll.
	State    runbook.State `json:"state"`
	Restored string        `json:"restoredVersion"`
	// Reported is what the device has reported since the restore, empty if nothing. For a device on no running restore's
	// roll it is what its status says.
	Reported string `json:"reportedVersion"`
	// RestoreID is the running restore on whose roll the device is; empty where there is none, and then the fields below
	// are empty as well.
	RestoreID string `json:"restoreId,omitempty"`
	// Mode is the mode of that restore.
	Mode runbook.Mode `json:"mode,omitempty"`
	// Since is when the device came into State.
	Since *time.Time `json:"since,omitempty"`
	// LastSeenBefore is when the device was last seen before the restore; nil if never.
	LastSeenBefore *time.Time `json:"lastSeenBefore,omitempty"`
}

// WaitsOnRoll reports whether a workflow waits for the device, or is about to be started: it is open on the roll of a
// restore that runs.
func (d DevicePosition) WaitsOnRoll() bool { return d.RestoreID != "" && d.State.Open() }

// startInterval is how often a device's workflow that is about to be started is looked for.
const startInterval = 100 * time.Millisecond

// StartsSoon waits a moment and reports whether a device that has no workflow ought to have one: it is on the roll of a
// restore that runs, which may still be starting the workflows of a large fleet.
func (s *Store) StartsSoon(ctx context.Context, orgID, name string) bool {
	found, err := s.Position(ctx, Query{OrgID: orgID, Names: []string{name}})
	if err != nil || len(found) == 0 || !found[0].WaitsOnRoll() {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(startInterval):
		return true
	}
}

type positionRow struct {
	OrgID          string     `db:"org_id"`
	Name           string     `db:"name"`
	Owner          string     `db:"owner"`
	Annotations    []byte     `db:"annotations"`
	Current        string     `db:"current_version"`
	RestoreID      string     `db:"restore_id"`
	RollState      string     `db:"roll_state"`
	Mode           string     `db:"mode"`
	Reported       string     `db:"reported_version"`
	Since          *time.Time `db:"since"`
	LastSeenBefore *time.Time `db:"last_seen_before"`
}

// Position reads where devices stand, ordered by name; the field selector of q is one for devices.
func (s *Store) Position(ctx context.Context, q Query) ([]DevicePosition, error) {
	c, err := q.conditions("devices")
	if err != nil {
		return nil, err
	}
	var rows []positionRow
	// Scopes of running restores do not overlap, so that a device is on one running roll at most; LIMIT 1 keeps a device
	// from showing twice even if that should ever fail.
	query := `select r.org_id, r.name, coalesce(r.owner, '') as owner, r.annotations,
  coalesce(r.status #>> '{config,renderedVersion}', '') as current_version,
  coalesce(roll.restore_id, '') as restore_id, coalesce(roll.state, '') as roll_state, coalesce(roll.mode, '') as mode,
  coalesce(roll.reported_version, '') as reported_version, roll.since, roll.last_seen_before
from devices r
left join device_timestamps seen on seen.org_id = r.org_id and seen.name = r.name
left join lateral (
  select l.restore_id, l.state, l.reported_version, l.since, l.last_seen_before, t.mode
  from rollcall.roll l join rollcall.restores t on t.id = l.restore_id
  where l.org_id = r.org_id and l.name = r.name and not l.superseded and t.state = 'Running'
  order by t.started_at desc limit 1) roll on true
where ` + c.Where() + `
order by r.name` + q.limit(c)
	if err := s.db.SelectContext(ctx, &rows, query, c.Args...); err != nil {
		return nil, fmt.Errorf("read where devices stand: %w", err)
	}
	return convert(rows, "where devices stand", positionRow.position)
}

func (r positionRow) position() (DevicePosition, error) {
	annotations, err := decodeStrings(r.Annotations)
	if err != nil {
		return DevicePosition{}, fmt.Errorf("annotations of %s: %w", r.Name, err)
	}
	d := DevicePosition{
		OrgID: r.OrgID, Name: r.Name, Fleet: fleetOf(r.Owner),
		State:     runbook.StateOf(annotations),
		Restored:  annotations[runbook.AnnotationRenderedVersion],
		Reported:  r.Reported,
		RestoreID: r.RestoreID, Mode: runbook.Mode(r.Mode), Since: r.Since, LastSeenBefore: r.LastSeenBefore,
	}
	if r.RestoreID == "" {
		d.Reported = r.Current
	}
	if r.RollState == string(runbook.StateWithdrawn) {
		d.State = runbook.StateWithdrawn
	}
	return d, nil
}

// fleetOf is the name of the fleet that owns a device, or empty; owner is "Fleet/NAME" where a fleet does.
func fleetOf(owner string) string {
	name, found := strings.CutPrefix(owner, KindFleet+"/")
	if !found {
		return ""
	}
	return name
}

// PendingRequest is an enrollment request that no one has decided about.
type PendingRequest struct {
	OrgID string `db:"org_id" json:"orgId"`
	Name  string `db:"name" json:"name"`
}

// requestState is where an enrollment request of a table so called stands: what makes it approved is a JSON true, and
// what makes it denied the condition that its agent is shown, or the word of whoever decided.
func requestState(table string) string {
	return strings.ReplaceAll(`case
    when r.status @> '{"approval": {"approved": true}}' then 'Approved'
    when r.status @> '{"approval": {"approved": false}}' then 'Denied'
    when r.status @> '{"conditions": [{"type": "Denied", "status": "True"}]}' then 'Denied'
    else 'Pending' end`, "r.", table+".")
}

var selectPending = `
select e.org_id, e.name
from enrollment_requests e
where (e.org_id, e.name) > (cast($1 as uuid), $2) and ($3 = '' or e.org_id = cast(nullif($3, '') as uuid))
  and e.deleted_at is null and ` + requestState("e") + ` = 'Pending'
order by e.org_id, e.name limit $4`

// PendingRequests reads the next enrollment requests of a running restore's organisations that no one has decided
// about, and where to go on, as PutOnRoll does. A restore that no longer runs is a *Refusal.
func (s *Store) PendingRequests(ctx context.Context, in RollInput) ([]PendingRequest, RollResult, error) {
	var restore struct {
		State runbook.RestoreState `db:"state"`
		OrgID string               `db:"org_id"`
	}
	err := s.db.GetContext(ctx, &restore,
		`select state, coalesce(cast(org_id as text), '') as org_id from rollcall.restores where id = $1`, in.RestoreID)
	if err != nil {
		return nil, RollResult{}, fmt.Errorf("read restore %s: %w", in.RestoreID, err)
	}
	if restore.State != runbook.RestoreRunning {
		return nil, RollResult{}, runbook.Refuse(runbook.CodeSuperseded, "restore %s is %s", in.RestoreID, restore.State)
	}
	orgID, name := in.after()
	var pending []PendingRequest
	if err := s.db.SelectContext(ctx, &pending, selectPending, orgID, name, restore.OrgID, in.limit()); err != nil {
		return nil, RollResult{}, fmt.Errorf("read pending enrollment requests: %w", err)
	}
	result := RollResult{Put: len(pending), Done: len(pending) < in.limit()}
	if n := len(pending); n > 0 {
		result.LastOrg, result.LastName = pending[n-1].OrgID, pending[n-1].Name
	}
	return pending, result, nil
}

// CountPendingRequests counts the enrollment requests that no one has decided about; an empty orgID is all
// organisations.
func (s *Store) CountPendingRequests(ctx context.Context, orgID string) (n int64, err error) {
	err = s.db.GetContext(ctx, &n, `select count(*) from enrollment_requests e
where e.deleted_at is null and ($1 = '' or e.org_id = cast(nullif($1, '') as uuid))
and `+requestState("e")+` = 'Pending'`, orgID)
	if err != nil {
		return 0, fmt.Errorf("count the pending enrollment requests: %w", err)
	}
	return n, nil
}

// EnrollmentPosition is where an enrollment request stands: what an approval decides about.
type EnrollmentPosition struct {
	OrgID string
	Name  string
	runbook.Enrollment
	// Begins is the state in which the device would begin if it were approved now.
	Begins runbook.State
	// Key is how the request's key compares with the one known of its name, and Fingerprint which it is, empty where it
	// holds none that can be read.
	Key         runbook.KeyMatch
	Fingerprint string
	// Unfinished is what is missing of an approval by Flight Control.
	Unfinished runbook.Unfinished
}

// Enrollments reads where enrollment requests stand, ordered by name; the field selector of q is one for enrollment
// requests.
func (s *Store) Enrollments(ctx context.Context, q Query) ([]EnrollmentPosition, error) {
	c, err := q.conditions("enrollmentrequests")
	if err != nil {
		return nil, err
	}
	var rows []enrollmentRow
	query := `select r.org_id, r.name, ` + requestState("r") + ` as state, rollcall.object(r.annotations) as annotations,
  coalesce(r.spec ->> 'knownRenderedVersion', '') as known, coalesce(r.spec ->> 'csr', '') as csr, ` + knownKey + `,
  coalesce(r.status #>> '{approval,approvedBy}', '') as decided_by, ` + signingMode("r") + ` as mode,
  d.name is not null as device_exists,
  coalesce(d.created_at between r.created_at and now() - interval '` + halfDone + `', false) as made_for_it,
  coalesce(rollcall.device_state(d.annotations) = 'Normal'
    and coalesce(d.annotations ->> '` + runbook.AnnotationRenderedVersion + `', '') = '', false) as unrendered
from enrollment_requests r
left join devices d on d.org_id = r.org_id and d.name = r.name and d.deleted_at is null
where ` + c.Where() + `
order by r.name` + q.limit(c)
	if err := s.db.SelectContext(ctx, &rows, query, c.Args...); err != nil {
		return nil, fmt.Errorf("read where enrollment requests stand: %w", err)
	}
	return convert(rows, "where enrollment requests stand", enrollmentRow.standing)
}

type enrollmentRow struct {
	OrgID        string                  `db:"org_id"`
	Name         string                  `db:"name"`
	State        runbook.EnrollmentState `db:"state"`
	Annotations  []byte                  `db:"annotations"`
	Known        string                  `db:"known"`
	CSR          string                  `db:"csr"`
	KnownKey     string                  `db:"known_key"`
	BroughtKey   bool                    `db:"brought_key"`
	DecidedBy    string                  `db:"decided_by"`
	Mode         runbook.Mode            `db:"mode"`
	DeviceExists bool                    `db:"device_exists"`
	// MadeForIt reports whether the device was made since the request was posted, and not just now. Unrendered reports
	// whether the device does not wait and was never rendered.
	MadeForIt  bool `db:"made_for_it"`
	Unrendered bool `db:"unrendered"`
}

// unfinished is what is missing of an approval by Flight Control.
func (r enrollmentRow) unfinished() runbook.Unfinished {
	switch {
	case r.Mode != runbook.ModeFlightctl || !r.MadeForIt:
		return ""
	case r.State == runbook.EnrollmentPending:
		return runbook.NoCertificate
	case r.State == runbook.EnrollmentApproved && r.Unrendered:
		return runbook.NotRendered
	}
	return ""
}

// signingMode is the mode of who signs the requests of a row's organisation: that of its newest restore.
func signingMode(row string) string {
	return `coalesce((select t.mode from rollcall.restores t where t.org_id is null or t.org_id = ` + row + `.org_id
    order by t.started_at desc limit 1), '')`
}

func (r enrollmentRow) standing() (EnrollmentPosition, error) {
	annotations, err := decodeStrings(r.Annotations)
	if err != nil {
		return EnrollmentPosition{}, fmt.Errorf("annotations of %s: %w", r.Name, err)
	}
	e := EnrollmentPosition{OrgID: r.OrgID, Name: r.Name, Unfinished: r.unfinished()}
	e.Enrollment = runbook.Enrollment{Exists: true, DeviceExists: r.DeviceExists, State: r.State, DecidedBy: r.DecidedBy}
	if r.State == runbook.EnrollmentPending {
		e.Unsignable = runbook.CheckSigning(r.Mode, r.Name, SigningRequest(r.CSR))
	}
	e.Begins = runbook.EnrolledState(annotations, r.Known)
	key := keyOf(r.CSR)
	e.Key, e.Fingerprint = keyStanding(r.Name, key, r.KnownKey, r.BroughtKey), key.Fingerprint
	return e, nil
}

// MayResume asks the rules whether a resume of the device could count now, and which version it would
// render. lifecycle is its status.lifecycle.status. The error is a *runbook.Refusal.
func (d DevicePosition) MayResume(lifecycle, expectVersion string) (runbook.Version, error) {
	switch {
	case d.State == "":
		return 0, runbook.Refuse(runbook.CodeNotFound, "there is no device %q in organisation %s", d.Name,
			runbook.OrgName(d.OrgID))
	case d.State.Open() && d.RestoreID == "":
		return 0, runbook.Refuse(runbook.CodeNoRollCall, "device %q is %s, but no restore runs that has it on its roll",
			d.Name, d.State)
	case d.State.Open() && !runbook.Eligible(false, lifecycle):
		return 0, runbook.Refuse(runbook.CodeNotWaiting,
			"device %q is %s; it is withdrawn from the roll call and not resumed", d.Name, lifecycle)
	}
	return runbook.MayResume(runbook.Conflict{State: d.State, Restored: d.Restored, Reported: d.Reported}, expectVersion)
}

// RollPlace is a device's place on the newest roll that has it, whatever became of that restore.
type RollPlace struct {
	RestoreID    string               `db:"restore_id"`
	RestoreState runbook.RestoreState `db:"restore_state"`
	Mode         runbook.Mode         `db:"mode"`
	State        runbook.State        `db:"state"`
	// Restored is the version that the restore found (T1), and Reported what the device has reported since, empty if
	// nothing.
	Restored string `db:"restored_version"`
	Reported string `db:"reported_version"`
	// Since is when the device came into State, and LastSeenBefore when it was last seen before the restore; nil if never.
	Since          time.Time  `db:"since"`
	LastSeenBefore *time.Time `db:"last_seen_before"`
	// ResumedBy is who has decided to resume the device, or empty.
	ResumedBy string `db:"resumed_by"`
	// HeldBack is how many reports were not told to the roll call, as the device has reported too often.
	HeldBack int64 `db:"held_back"`
	// MayTakeUp reports whether the restore was cancelled and could be taken up again now.
	MayTakeUp bool `db:"may_take_up"`
}

// mayTakeUp is a condition on a restore s: it was cancelled, no newer restore has any of its devices, and none runs
// that it would meet.
const mayTakeUp = `(s.state = 'Cancelled' and not exists (select from rollcall.roll x where x.restore_id = s.id
	and x.superseded)
    and not exists (select from rollcall.restores x where x.state = 'Running' and (x.org_id is null or s.org_id is null
    or x.org_id = s.org_id)))`

// NewestPlace reads the place of a device on the newest roll that has it, or nil where none ever had.
func (s *Store) NewestPlace(ctx context.Context, orgID, name string) (*RollPlace, error) {
	var places []RollPlace
	err := s.db.SelectContext(ctx, &places, `
select r.restore_id, s.state as restore_state, s.mode, r.state, r.restored_version, coalesce(r.reported_version,
'') as reported_version,
  r.since, r.last_seen_before, coalesce(r.resumed_by, '') as resumed_by, r.held_back,
  `+mayTakeUp+` as may_take_up
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
where r.org_id = $1 and r.name = $2
order by s.started_at desc, s.id desc limit 1`, orgID, name)
	if err != nil {
		return nil, fmt.Errorf("read the place of device %s on the newest roll: %w", name, err)
	}
	if len(places) == 0 {
		return nil, nil
	}
	p := places[0]
	p.Since, p.LastSeenBefore = p.Since.UTC(), inUTC(p.LastSeenBefore)
	return &p, nil
}

// MayTakeUp reports whether a restore was cancelled and could be taken up again now.
func (s *Store) MayTakeUp(ctx context.Context, restoreID string) (may bool, err error) {
	err = s.db.GetContext(ctx, &may, `select exists (select from rollcall.restores s where s.id = $1 and `+mayTakeUp+`)`,
		restoreID)
	if err != nil {
		return false, fmt.Errorf("look whether restore %s can be taken up again: %w", restoreID, err)
	}
	return may, nil
}

// NamesOf reads the names of the devices that are called so: the device of that name, or else those that have it as
// their alias, in the order of their names.
func (s *Store) NamesOf(ctx context.Context, orgID, nameOrAlias string) ([]string, error) {
	names := []string{}
	err := s.db.SelectContext(ctx, &names, `
with called as (
  select d.name, d.name = $2 as exact from devices d
  where d.org_id = $1 and d.deleted_at is null and (d.name = $2 or d.alias = $2 or d.labels ->> 'alias' = $2))
select c.name from called c where c.exact or not exists (select from called e where e.exact) order by c.name limit 10`,
		orgID, nameOrAlias)
	if err != nil {
		return nil, fmt.Errorf("look for a device called %q: %w", nameOrAlias, err)
	}
	return names, nil
}

// Withdrawn reads which of an organisation's devices of these names were withdrawn from the newest roll that has them,
// though their rows still say that they wait.
func (s *Store) Withdrawn(ctx context.Context, orgID string, names []string) (map[string]bool, error) {
	var found []string
	err := s.db.SelectContext(ctx, &found, `select n.name from unnest(cast($2 as text[])) n (name)
where `+selector.Withdrawn("$1", "n.name"), orgID, pq.Array(names))
	if err != nil {
		return nil, fmt.Errorf("read which devices were withdrawn: %w", err)
	}
	withdrawn := make(map[string]bool, len(found))
	for _, name := range found {
		withdrawn[name] = true
	}
	return withdrawn, nil
}
