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
select ` + commonColumns + `, r.spec, r.status, ` + requestState("r") + ` as state, coalesce(r.spec ->> 'csr', '') as csr,
    coalesce(r.status ->> 'certificate', '') as certificate,
    exists (select from devices d where d.org_id = r.org_id and d.name = r.name and d.deleted_at is null) as device_exists,
    coalesce((select t.id from rollcall.restores t where t.state = 'Running' and (t.org_id is null or t.org_id = r.org_id)
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

func readAgentRequest(ctx context.Context, db sqlx.QueryerContext, orgID, name string) (r AgentRequest, found bool, err error) {
	var row agentRequestRow
	err = sqlx.GetContext(ctx, db, &row, selectAgentRequest, orgID, name)
	if errors.Is(err, sql.ErrNoRows) {
		return AgentRequest{}, false, nil
	}
	if err != nil {
		return AgentRequest{}, false, err
	}
	r = AgentRequest{
		State: row.State, CSR: row.CSR, Certificate: row.Certificate, DeviceExists: row.DeviceExists, RestoreID: row.RestoreID,
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

// StoreCertificate stores what was signed of an approved request in place of the certificate that it had when r was read, or
// none. It is false where that is not so any more: somebody else was first, or it is another request now. Whoever reads the request next finds which.
func (s *Store) StoreCertificate(ctx context.Context, r AgentRequest, certificate []byte) (bool, error) {
	stored, err := changed(s.db.ExecContext(ctx, storeCertificate, r.OrgID, r.Metadata.Name, r.CSR, string(certificate), r.Certificate))
	if err != nil {
		return false, fmt.Errorf("store the certificate of enrollment request %s: %w", r.Metadata.Name, err)
	}
	return stored, nil
}
