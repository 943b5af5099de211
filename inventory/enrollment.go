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

// ApproveInput is a human's decision to let a device in.
type ApproveInput struct {
	OrgID string `json:"orgId"`
	Name  string `json:"name"`
	// By is who decides; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// Labels and ReplaceLabels are as in runbook.ApproveRequest.
	Labels        map[string]string `json:"labels,omitempty"`
	ReplaceLabels bool              `json:"replaceLabels,omitempty"`
	// ExpectKey is the fingerprint of the key that the human was shown; empty is no expectation.
	ExpectKey string `json:"expectKey,omitempty"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
	Who
	// Forbidden is why the decision may not count; nil where nothing forbids it.
	Forbidden *runbook.Refusal `json:"-"`
	// User is whose approvals in Flight Control are ours; empty is not known.
	User string `json:"-"`
}

// DenyInput is a human's decision to keep a device out.
type DenyInput struct {
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	By        string `json:"by"`
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	Who
	// Forbidden is why the decision may not count; nil where nothing forbids it.
	Forbidden *runbook.Refusal `json:"-"`
	// Delete says that Flight Control is to delete the request next; WrongMode refuses that where none runs beside.
	Delete    bool `json:"delete,omitempty"`
	WrongMode bool `json:"-"`
}

// Decided says what a decision did to an enrollment request, and where the request stands now.
type Decided struct {
	// Applied tells that this decision, or the same request before, stands.
	Applied bool                    `json:"applied"`
	State   runbook.EnrollmentState `json:"state"`
	// Device is the state in which the device began; empty unless this decision made it.
	Device runbook.State `json:"deviceState,omitempty"`
	// RestoreID is the restore on whose roll the device is; empty where it is on none.
	RestoreID string `json:"restoreId,omitempty"`
	// By, Reason and At are those of the decision that stands, as far as they are known.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	At      time.Time        `json:"at,omitzero"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
	// Elsewhere reports whether the request was decided elsewhere, in Flight Control itself.
	Elsewhere bool `json:"elsewhere,omitempty"`
	Who
}

// Approve lets a device in if runbook.MayApprove says so: the device, the approval, and where the device begins
// AwaitingReconnect while a restore of its organisation runs, its place on the roll, all in one transaction. A device
// that joins late takes the next number of the roll and is in its total. Every refusal is kept in the audit. While a
// restore is still putting devices on its roll the error is a failure, to be tried again: only after that are the
// requests of the backup told from later ones.
func (s *Store) Approve(ctx context.Context, in ApproveInput) (Decided, error) {
	return s.decide(ctx, "approve", in.record(), func(tx *sqlx.Tx, e enrollment) (Decided, error) {
		if in.Forbidden != nil {
			return e.refuse(ctx, tx, in.Forbidden)
		}
		err := runbook.MayApprove(e.signedBy(runbook.ModeStandalone), in.Name)
		if err == nil {
			err = runbook.ExpectedKey(in.Name, in.ExpectKey, keyOf(e.CSR).Fingerprint)
		}
		if refusal := runbook.AsRefusal(err); refusal != nil {
			return e.refuse(ctx, tx, refusal)
		}
		return e.approve(ctx, tx, in, runbook.EnrolledState(e.annotations, e.Known))
	})
}

// Deny keeps a device out if runbook.MayDeny says so. Every refusal is kept in the audit.
func (s *Store) Deny(ctx context.Context, in DenyInput) (Decided, error) {
	return s.decide(ctx, "deny", in.record(), func(tx *sqlx.Tx, e enrollment) (Decided, error) {
		if in.Forbidden != nil {
			return e.refuse(ctx, tx, in.Forbidden)
		}
		if refusal := e.mayDeny(in); refusal != nil {
			return e.refuse(ctx, tx, refusal)
		}
		return e.deny(ctx, tx, in)
	})
}

// mayDeny refuses a denial that does not count. A request that was denied may be deleted all the same.
func (e enrollment) mayDeny(in DenyInput) *runbook.Refusal {
	switch {
	case in.WrongMode:
		return runbook.Refuse(runbook.CodeWrongMode,
			"no Flight Control runs beside this worker that could delete enrollment request %s: deny it without --delete",
			in.Name)
	case in.Delete && e.Exists && e.DeviceExists:
		return runbook.Refuse(runbook.CodeDeviceExists,
			"Flight Control deletes no enrollment request whose device is there: delete the device %s, which deletes the "+
				"request as well (`flightctl delete device/%s`); nothing was changed", in.Name, in.Name)
	case in.Delete && e.State == runbook.EnrollmentDenied:
		return nil
	}
	return runbook.AsRefusal(runbook.MayDeny(e.stands(), in.Name))
}

// RequestExists reports whether there is an enrollment request.
func (s *Store) RequestExists(ctx context.Context, orgID, name string) (exists bool, err error) {
	err = s.db.GetContext(ctx, &exists, `
select exists (select from enrollment_requests where org_id = $1 and name = $2 and deleted_at is null)`, orgID, name)
	if err != nil {
		return false, fmt.Errorf("look whether enrollment request %s is there: %w", name, err)
	}
	return exists, nil
}

func (in ApproveInput) record() record {
	return record{
		target: target{"", in.OrgID, in.Name}, Signal: runbook.SignalApprove, Actor: in.By, Reason: in.Reason,
		RequestID: in.RequestID, Who: in.Who,
	}
}

func (in DenyInput) record() record {
	return record{
		target: target{"", in.OrgID, in.Name}, Signal: runbook.SignalDeny, Actor: in.By, Reason: in.Reason,
		RequestID: in.RequestID, Who: in.Who,
	}
}

// decide runs choose on a locked enrollment request in one transaction, unless the decision was answered before: then
// that answer is given again.
func (s *Store) decide(
	ctx context.Context, verb string, asked record, choose func(*sqlx.Tx, enrollment) (Decided, error),
) (result Decided, err error) {
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		e, err := lockEnrollment(ctx, tx, asked)
		if err != nil {
			return err
		}
		first, err := readDecision(ctx, tx, asked)
		if err != nil {
			return err
		}
		if first != nil {
			result = e.answered(*first)
			return nil
		}
		if e.restore != nil && e.restore.RolledAt == nil {
			return fmt.Errorf("restore %s is still putting devices on its roll", e.restore.ID)
		}
		result, err = choose(tx, e)
		return err
	})
	if err != nil {
		return Decided{}, fmt.Errorf("%s enrollment request %s: %w", verb, asked.Name, err)
	}
	return result, nil
}

// enrollment is where a request stands, its rows locked.
type enrollment struct {
	asked record
	// restore is the running one that covers the organisation; nil where none does.
	restore *restore

	Exists       bool
	State        runbook.EnrollmentState `db:"state"`
	Annotations  []byte                  `db:"annotations"`
	Known        string                  `db:"known"`
	CSR          string                  `db:"csr"`
	DecidedBy    string                  `db:"decided_by"`
	DeviceExists bool                    `db:"device_exists"`
	// OnRoll is whether the restore waits for a device of the request's name.
	OnRoll      bool   `db:"on_roll"`
	Asked       []byte `db:"asked"`
	OSMode      string `db:"os_mode"`
	annotations map[string]string
}

var lockRequest = `
select ` + requestState("e") + ` as state, rollcall.object(e.annotations) as annotations,
    coalesce(e.spec ->> 'knownRenderedVersion', '') as known, coalesce(e.spec ->> 'csr', '') as csr,
    rollcall.object(e.spec -> 'labels') as asked, coalesce(e.spec ->> 'osMode', '') as os_mode,
    coalesce(e.status #>> '{approval,approvedBy}', '') as decided_by,
    exists (select from devices d where d.org_id = e.org_id and d.name = e.name
    and d.deleted_at is null) as device_exists,
    exists (select from rollcall.roll r where r.org_id = e.org_id and r.name = e.name and r.restore_id = $3
    and not r.superseded
        and r.state in ('AwaitingReconnect', 'ConflictPaused')) as on_roll
from enrollment_requests e where e.org_id = $1 and e.name = $2 and e.deleted_at is null
for no key update of e`

// lockEnrollment locks first the restore that runs, then the request, in the order in which a restore marks requests.
// No restore can open meanwhile: a device that is approved is either on the roll of the restore that runs, or there
// before the next one makes its own.
func lockEnrollment(ctx context.Context, tx *sqlx.Tx, asked record) (enrollment, error) {
	e := enrollment{asked: asked}
	if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock_shared($1)`, restoreLock); err != nil {
		return e, fmt.Errorf("wait for a restore that opens: %w", err)
	}
	var running restore
	err := tx.GetContext(ctx, &running, selectRestore+`
		where state = $1 and (org_id is null or org_id = $2) order by started_at desc limit 1 for no key update`,
		runbook.RestoreRunning, asked.OrgID)
	switch {
	case err == nil:
		e.restore = &running
		e.asked.RestoreID = running.ID
	case !errors.Is(err, sql.ErrNoRows):
		return e, fmt.Errorf("lock the restore that runs: %w", err)
	}
	err = tx.GetContext(ctx, &e, lockRequest, asked.OrgID, asked.Name, e.asked.RestoreID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return e, fmt.Errorf("lock the request: %w", err)
	}
	if e.Exists = err == nil; !e.Exists {
		e.State = runbook.EnrollmentGone
		return e, nil
	}
	if e.annotations, err = decodeStrings(e.Annotations); err != nil {
		return e, fmt.Errorf("read its annotations: %w", err)
	}
	return e, nil
}

func (e enrollment) stands() runbook.Enrollment {
	return runbook.Enrollment{Exists: e.Exists, DeviceExists: e.DeviceExists, State: e.State, DecidedBy: e.DecidedBy}
}

// signedBy is where the request stands for an approval after which a server of that mode signs.
func (e enrollment) signedBy(mode runbook.Mode) runbook.Enrollment {
	stands := e.stands()
	stands.Unsignable = runbook.CheckSigning(mode, e.asked.Name, SigningRequest(e.CSR))
	return stands
}

const selectDecision = `
select restore_id, org_id, name, transition, from_state, to_state, signal, actor, reason, code, message, at, identity,
via, decision_id
from rollcall.transitions where org_id = $1 and name = $2 `

// readDecision finds what a request was answered with, whichever restore ran then.
func readDecision(ctx context.Context, tx *sqlx.Tx, asked record) (*record, error) {
	if asked.RequestID == "" {
		return nil, nil
	}
	return oneDecision(ctx, tx, selectDecision+`and request_id in ($3, $5, $6) and signal = $4 order by id limit 1`,
		asked.OrgID, asked.Name, asked.RequestID, asked.Signal, earlierID(asked.RequestID),
		kindID(asked.Signal, asked.RequestID))
}

func oneDecision(ctx context.Context, tx *sqlx.Tx, query string, args ...any) (*record, error) {
	var r record
	err := tx.GetContext(ctx, &r, query, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return &r, nil
}

// answered is the answer to a decision that was answered before.
func (e enrollment) answered(first record) Decided {
	if first.Code != "" {
		return e.refused(&runbook.Refusal{Code: first.Code, Message: first.Message})
	}
	d := Decided{
		Applied: true, State: runbook.EnrollmentApproved, Device: first.To, By: first.Actor, Reason: first.Reason,
		At: first.At.UTC(), Who: first.Who,
	}
	switch first.Transition {
	case runbook.T1:
		d.RestoreID = first.RestoreID
	case runbook.Denied:
		d.State, d.Device = runbook.EnrollmentDenied, ""
	case runbook.Deleted:
		d.State, d.Device = runbook.EnrollmentGone, ""
	}
	if d.Elsewhere = first.Signal == runbook.SignalLook; d.Elsewhere && e.OnRoll {
		d.RestoreID = e.restore.ID
	}
	return d
}

// refuse answers no, and keeps that in the audit.
func (e enrollment) refuse(ctx context.Context, tx *sqlx.Tx, refusal *runbook.Refusal) (Decided, error) {
	r := e.asked
	r.Transition, r.Code, r.Message = runbook.Refused, refusal.Code, refusal.Message
	if err := r.write(ctx, tx); err != nil {
		return Decided{}, err
	}
	return e.refused(refusal), nil
}

func (e enrollment) refused(refusal *runbook.Refusal) Decided {
	d := Decided{State: e.State, By: e.DecidedBy, Refusal: refusal}
	if e.State == runbook.EnrollmentApproved && e.OnRoll {
		// Whoever approved it may have died before the device's workflow was started, which the answer's reader makes good.
		d.Device, d.RestoreID = runbook.StateAwaitingReconnect, e.restore.ID
	}
	return d
}
