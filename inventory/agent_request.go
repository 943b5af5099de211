package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/internal/authority"
	"rollcall/runbook"
)

// AgentRequest is an enrollment request as its agent is told of it.
type AgentRequest struct {
	Resource
	State runbook.EnrollmentState
	// CreatedAt is when the request began to be the one it is; zero where that is not known.
	CreatedAt time.Time
	// CSR is the signing request in PEM, and Certificate what was signed of it; empty where nothing was.
	CSR         string
	Certificate string
	// DeviceExists tells that its device is in the inventory, and not deleted.
	DeviceExists bool
	// RestoreID is the restore that runs now for its organisation; empty where none does.
	RestoreID string
}

var selectAgentRequest = `
select ` + commonColumns + `, r.spec, r.status, ` + requestState("r") + ` as state, coalesce(r.spec ->> 'csr',
	'') as csr,
    coalesce(r.status ->> 'certificate', '') as certificate,
    exists (select from devices d where d.org_id = r.org_id and d.name = r.name
    and d.deleted_at is null) as device_exists,
    coalesce((select t.id from rollcall.restores t where t.state = 'Running' and (t.org_id is null
    or t.org_id = r.org_id)
        order by t.started_at desc limit 1), '') as restore_id
from enrollment_requests r where r.org_id = $1 and r.name = $2 and r.deleted_at is null`

type agentRequestRow struct {
	resourceRow
	State        runbook.EnrollmentState `db:"state"`
	CSR          string                  `db:"csr"`
	Certificate  string                  `db:"certificate"`
	DeviceExists bool                    `db:"device_exists"`
	RestoreID    string                  `db:"restore_id"`
}

// AgentRequest reads an enrollment request for its agent. found is false only where the database has said that there is
// none, or that it is deleted.
func (s *Store) AgentRequest(ctx context.Context, orgID, name string) (r AgentRequest, found bool, err error) {
	if r, found, err = readAgentRequest(ctx, s.db, orgID, name); err != nil {
		return AgentRequest{}, false, fmt.Errorf("read enrollment request %s for its agent: %w", name, err)
	}
	return r, found, nil
}

func readAgentRequest(
	ctx context.Context, db sqlx.QueryerContext, orgID, name string,
) (r AgentRequest, found bool, err error) {
	var row agentRequestRow
	err = sqlx.GetContext(ctx, db, &row, selectAgentRequest, orgID, name)
	if errors.Is(err, sql.ErrNoRows) {
		return AgentRequest{}, false, nil
	}
	if err != nil {
		return AgentRequest{}, false, err
	}
	r = AgentRequest{
		State: row.State, CSR: row.CSR, Certificate: row.Certificate, DeviceExists: row.DeviceExists,
		RestoreID: row.RestoreID,
	}
	if row.CreatedAt != nil {
		r.CreatedAt = *row.CreatedAt
	}
	r.Resource, err = row.resource(KindEnrollmentRequest)
	return r, err == nil, err
}

var storeCertificate = `
update enrollment_requests e set
    status = rollcall.object(e.status) || jsonb_build_object('certificate', cast($4 as text)),
    resource_version = coalesce(e.resource_version, 0) + 1, updated_at = now()
where e.org_id = $1 and e.name = $2 and e.deleted_at is null and e.spec ->> 'csr' = $3
  and ` + requestState("e") + ` = 'Approved' and coalesce(e.status ->> 'certificate', '') = $5`

// StoreCertificate stores what was signed of an approved request in place of the certificate that it had when r was
// read, or none. It is false where that is not so any more: someone else was first, or it is another request now.
// Whoever reads the request next finds which.
func (s *Store) StoreCertificate(ctx context.Context, r AgentRequest, certificate []byte) (bool, error) {
	stored, err := changed(s.db.ExecContext(ctx, storeCertificate, r.OrgID, r.Metadata.Name, r.CSR, string(certificate),
		r.Certificate))
	if err != nil {
		return false, fmt.Errorf("store the certificate of enrollment request %s: %w", r.Metadata.Name, err)
	}
	return stored, nil
}

// keyOf is the key of a stored signing request; its zero value where there is none to be read.
func keyOf(csr string) runbook.Key {
	fingerprint, name, _ := authority.KeyOf(csr)
	return runbook.Key{Fingerprint: fingerprint, Name: name}
}

// SigningRequest is what a stored signing request holds; CheckSigning decides by it.
func SigningRequest(csr string) runbook.SigningRequest {
	found := authority.Inspect(csr)
	r := runbook.SigningRequest{Device: found.Device, TPM: found.TPM}
	if found.Wrong != nil {
		r.Wrong = found.Wrong.Error()
	}
	if found.WrongHere != nil {
		r.WrongHere = found.WrongHere.Error()
	}
	return r
}

// knownKey are the columns of the fingerprint that is known under the name of a request r, and of whether it came with
// it.
const knownKey = `coalesce((select k.key from rollcall.request_keys k where k.org_id = r.org_id and k.name = r.name),
	'') as known_key,
  exists (select from rollcall.request_keys k where k.org_id = r.org_id and k.name = r.name
  and k.brought_at = r.created_at) as brought_key`

// keyStanding is how the key of a stored request stands: one that came with the request was not known before.
func keyStanding(name string, key runbook.Key, known string, brought bool) runbook.KeyMatch {
	standing := runbook.CompareKey(name, key, known)
	if standing == runbook.KeySame && brought {
		return runbook.KeyNew
	}
	return standing
}

// noteKey compares the key of a request that arrives with the one that is known under its name, and keeps the known
// one. A different key never becomes it, however often it is posted.
func (b requestBefore) noteKey(
	ctx context.Context, tx *sqlx.Tx, in SubmitRequestInput, key runbook.Key,
) (runbook.KeyMatch, error) {
	kept, err := keptKey(ctx, tx, in.OrgID, in.Name)
	if err != nil {
		return "", err
	}
	known := b.knownKey(in.Name, kept)
	standing := runbook.CompareKey(in.Name, key, known)
	if standing.InBulk() {
		known = key.Fingerprint
	}
	if known == kept || known == "" {
		return standing, nil
	}
	return standing, keepKey(ctx, tx, in.OrgID, in.Name, known, standing == runbook.KeyNew)
}

// knownKey is the fingerprint that was known before: that of the request which was approved, here or in the backup,
// else the one that was kept, else that of the request as it was, deleted or not, unless its name or a human speaks
// against it.
func (b requestBefore) knownKey(name, kept string) string {
	was := keyOf(b.CSR)
	switch {
	case was.Fingerprint != "" && b.State == runbook.EnrollmentApproved:
		return was.Fingerprint
	case kept != "":
		return kept
	case b.State != runbook.EnrollmentDenied && runbook.CompareKey(name, was, "").InBulk():
		return was.Fingerprint
	}
	return ""
}

func keptKey(ctx context.Context, tx *sqlx.Tx, orgID, name string) (key string, err error) {
	err = tx.GetContext(ctx, &key, `select key from rollcall.request_keys where org_id = $1 and name = $2`, orgID, name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read the known key: %w", err)
	}
	return key, nil
}

// keepKey makes a key the known one; brought tells that it came with the request that is being stored.
func keepKey(ctx context.Context, tx *sqlx.Tx, orgID, name, key string, brought bool) error {
	_, err := tx.ExecContext(ctx, `
		insert into rollcall.request_keys as k (org_id, name, key, brought_at) values ($1, $2, $3,
		case when $4 then now() end)
		on conflict (org_id, name) do update set key = excluded.key, brought_at = excluded.brought_at
		where k.key <> excluded.key`,
		orgID, name, key, brought)
	if err != nil {
		return fmt.Errorf("keep the known key: %w", err)
	}
	return nil
}

// acceptKey makes the key of a request that is approved the known one, and says what was to be said against it.
func (e enrollment) acceptKey(ctx context.Context, tx *sqlx.Tx) (warning string, err error) {
	key := keyOf(e.CSR)
	kept, err := keptKey(ctx, tx, e.asked.OrgID, e.asked.Name)
	if err != nil || key.Fingerprint == "" {
		return "", err
	}
	if runbook.CompareKey(e.asked.Name, key, kept) == runbook.KeyDifferent {
		warning = "; its key (SHA-256 " + key.Fingerprint + ") is not the one known before"
	}
	return warning, keepKey(ctx, tx, e.asked.OrgID, e.asked.Name, key.Fingerprint, false)
}

// forgetKey makes the key of a request that is denied one that is not known, where this request brought it: no one has
// ever let it in. A key that was known before stays what others are compared with.
func (e enrollment) forgetKey(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `
		delete from rollcall.request_keys k using enrollment_requests r
		where r.org_id = $1 and r.name = $2 and k.org_id = r.org_id and k.name = r.name and k.brought_at = r.created_at
		and k.key = $3`,
		e.asked.OrgID, e.asked.Name, keyOf(e.CSR).Fingerprint)
	if err != nil {
		return fmt.Errorf("forget the denied key: %w", err)
	}
	return nil
}

// Renewal is a device's request to have its certificate renewed, and what was signed of it.
type Renewal struct {
	OrgID  string `db:"org_id"`
	Device string `db:"device"`
	Name   string `db:"name"`
	// Request is the signing request in PEM, and Spec the spec that it came in.
	Request     []byte          `db:"request"`
	Spec        json.RawMessage `db:"spec"`
	Certificate []byte          `db:"certificate"`
	CreatedAt   time.Time       `db:"created_at"`
}

// A device has one renewal under way, so that its last one is kept and no other.
const insertRenewal = `
insert into rollcall.renewals as r (org_id, device, name, request, spec, certificate)
values (:org_id, :device, :name, :request, :spec, :certificate)
on conflict (org_id, device) do update set
    name = excluded.name, request = excluded.request, spec = excluded.spec, certificate = excluded.certificate,
    created_at = now()
where r.name <> excluded.name`

// StoreRenewal stores a renewal in place of the device's last one, and returns the one that is stored then. Of one
// name the first counts, whichever request came with the others.
func (s *Store) StoreRenewal(ctx context.Context, r Renewal) (Renewal, error) {
	if _, err := s.db.NamedExecContext(ctx, insertRenewal, struct {
		Renewal
		Spec string `db:"spec"`
	}{r, string(r.Spec)}); err != nil {
		return Renewal{}, fmt.Errorf("store the renewal of device %s: %w", r.Device, err)
	}
	stored, found, err := s.RenewalOf(ctx, r.OrgID, r.Device, r.Name)
	if err == nil && !found {
		err = fmt.Errorf("store the renewal of device %s: another was stored meanwhile", r.Device)
	}
	return stored, err
}

// RenewalOf reads a device's renewal of that name.
func (s *Store) RenewalOf(ctx context.Context, orgID, device, name string) (r Renewal, found bool, err error) {
	err = s.db.GetContext(ctx, &r, `select org_id, device, name, request, spec, certificate, created_at
		from rollcall.renewals where org_id = $1 and device = $2 and name = $3`, orgID, device, name)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read the renewal of device %s: %w", device, err)
	}
	return r, true, nil
}
