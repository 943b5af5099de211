package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"rollcall/runbook"
)

// RenderDue reports whether the device is to be rendered: it is normal, there is a spec, and what was rendered last was
// another. A device whose rendered version cannot be read is rendered again, as no one could tell what it was served.
func (d AgentDevice) RenderDue() bool {
	if d.State.Open() || d.SpecHash == "" {
		return false
	}
	_, err := runbook.ParseVersion(d.Restored)
	return err != nil || d.SpecHash != d.RenderedHash
}

// NextVersion is the version that rendering makes: past what was rendered before, what the device's status says, and
// what its agent knows, so that the agent accepts it. The error is a *Refusal, as runbook.NextVersion's.
func (d AgentDevice) NextVersion(known runbook.Version) (runbook.Version, error) {
	if current, err := runbook.ParseVersion(d.Current); err == nil {
		known = max(known, current)
	}
	return runbook.NextVersion(d.Restored, known.String())
}

// setRendered writes only what the caller has seen: a device that has come to wait meanwhile, was rendered by another,
// or reports something else, is left alone. The statement looks at the newest version of the row once it has locked
// it.
const setRendered = `
update devices d set
    annotations = rollcall.object(d.annotations)
        || jsonb_build_object(cast(:version_key as text), cast(:next as text), cast(:hash_key as text),
        cast(:spec_hash as text)),
    status = rollcall.object(d.status) || jsonb_build_object('updated',
        rollcall.object(d.status -> 'updated') || jsonb_build_object('status', cast(:updated as text))),
    render_timestamp = now(),
    resource_version = coalesce(d.resource_version, 0) + 1,
    updated_at = now()
where d.org_id = cast(:org_id as uuid) and d.name = :name and d.deleted_at is null
  and rollcall.device_state(d.annotations) = 'Normal'
  and coalesce(d.annotations ->> cast(:version_key as text), '') = :restored
  and coalesce(d.annotations ->> cast(:hash_key as text), '') = :rendered_hash
  and coalesce(d.status #>> '{config,renderedVersion}', '') = :current_version`

// Render gives a device that is to be rendered its next version; ok is false where the device is not as d says any
// more, and then nothing was written.
func (s *Store) Render(ctx context.Context, d AgentDevice, next runbook.Version) (ok bool, err error) {
	stmt, err := s.prepare(ctx, setRendered)
	if err != nil {
		return false, err
	}
	result, err := stmt.ExecContext(ctx, struct {
		agentKeys
		Next         string `db:"next"`
		SpecHash     string `db:"spec_hash"`
		Updated      string `db:"updated"`
		Restored     string `db:"restored"`
		RenderedHash string `db:"rendered_hash"`
		Current      string `db:"current_version"`
	}{keysOf(d.OrgID, d.Name), next.String(), d.SpecHash, runbook.UpdatedOutOfDate, d.Restored, d.RenderedHash, d.Current})
	if err != nil {
		return false, fmt.Errorf("render device %s: %w", d.Name, err)
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("render device %s: %w", d.Name, err)
	}
	return changed == 1, nil
}

const selectRendered = `
select ` + commonColumns + `, ` + agentSpec + ` as spec
from devices r` + agentFleet + `
where r.org_id = $1 and r.name = $2 and r.deleted_at is null and rollcall.device_state(r.annotations) = 'Normal'
  and r.annotations ->> $3 = $4 and ` + agentHash + ` = $5`

// RenderedDevice reads the device as its agent is served it: its name, its annotations and the spec that it is
// rendered from, without its status. ok is false where it is not normal any more, or its version or its spec is
// another since d was read, so that one version is never two specs.
func (s *Store) RenderedDevice(ctx context.Context, d AgentDevice) (device Resource, ok bool, err error) {
	var row resourceRow
	err = s.db.GetContext(ctx, &row, selectRendered, d.OrgID, d.Name, runbook.AnnotationRenderedVersion, d.Restored,
		d.SpecHash)
	if errors.Is(err, sql.ErrNoRows) {
		return Resource{}, false, nil
	}
	if err == nil {
		device, err = row.resource(KindDevice)
	}
	if err != nil {
		return Resource{}, false, fmt.Errorf("read rendered device %s: %w", d.Name, err)
	}
	return device, true, nil
}
