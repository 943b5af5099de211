package inventory

import (
	"context"
	"fmt"
	"strings"

	"rollcall/runbook"
)

// PendingRequest is an enrollment request that nobody has decided about.
type PendingRequest struct {
	OrgID string `db:"org_id" json:"orgId"`
	Name  string `db:"name" json:"name"`
}

// requestState is where an enrollment request of a table so called stands: what makes it approved is a JSON true, and what
// makes it denied the condition that its agent is shown, or the word of whoever decided.
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

// PendingRequests reads the next enrollment requests of a running restore's organisations that nobody has decided about,
// and where to go on, as PutOnRoll does. A restore that no longer runs is a *Refusal.
func (s *Store) PendingRequests(ctx context.Context, in RollInput) ([]PendingRequest, RollResult, error) {
	var restore struct {
		State runbook.RestoreState `db:"state"`
		OrgID string               `db:"org_id"`
	}
	err := s.db.GetContext(ctx, &restore, `select state, coalesce(cast(org_id as text), '') as org_id from rollcall.restores where id = $1`, in.RestoreID)
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

// EnrollmentStanding is where an enrollment request stands: what an approval decides about.
type EnrollmentStanding struct {
	OrgID string
	Name  string
	runbook.Enrollment
	// Begins is the state in which the device would begin if it were approved now; BeginsErr is the *Refusal that says why
	// that cannot be told.
	Begins    runbook.State
	BeginsErr error
	// Key is how the request's key compares with the one known of its name, and Fingerprint which it is, empty where it holds
	// none that can be read.
	Key         runbook.KeyStanding
	Fingerprint string
}

// Enrollments reads where enrollment requests stand, ordered by name; the field selector of q is one for enrollment requests.
func (s *Store) Enrollments(ctx context.Context, q Query) ([]EnrollmentStanding, error) {
	c, err := q.conditions("enrollmentrequests")
	if err != nil {
		return nil, err
	}
	var rows []enrollmentRow
	query := `select r.org_id, r.name, ` + requestState("r") + ` as state, rollcall.object(r.annotations) as annotations,
  coalesce(r.spec ->> 'knownRenderedVersion', '') as known, coalesce(r.spec ->> 'csr', '') as csr, ` + knownKey + `,
  coalesce(r.status #>> '{approval,approvedBy}', '') as decided_by,
  exists (select from devices d where d.org_id = r.org_id and d.name = r.name and d.deleted_at is null) as device_exists
from enrollment_requests r
where ` + c.where() + `
order by r.name` + q.limit(c)
	if err := s.db.SelectContext(ctx, &rows, query, c.args...); err != nil {
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
	DeviceExists bool                    `db:"device_exists"`
}

func (r enrollmentRow) standing() (EnrollmentStanding, error) {
	annotations, err := decodeStrings(r.Annotations)
	if err != nil {
		return EnrollmentStanding{}, fmt.Errorf("annotations of %s: %w", r.Name, err)
	}
	e := EnrollmentStanding{OrgID: r.OrgID, Name: r.Name}
	e.Enrollment = runbook.Enrollment{Exists: true, DeviceExists: r.DeviceExists, State: r.State, DecidedBy: r.DecidedBy}
	e.Begins, e.BeginsErr = runbook.EnrolledState(annotations, r.Known)
	key := keyOf(r.CSR)
	e.Key, e.Fingerprint = keyStanding(r.Name, key, r.KnownKey, r.BroughtKey), key.Fingerprint
	return e, nil
}
