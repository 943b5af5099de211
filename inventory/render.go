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

// IsAhead reports whether the device knows a version past the one that it was rendered as last, which no human has
// decided about. Only a database that was put back has such a device: it would be rendered from the backup's spec, as
// something newer than what it runs. known is what its agent says; what its status says counts as well.
func (d AgentDevice) IsAhead(known runbook.Version) bool {
	known = max(known, d.current())
	resumed, err := runbook.ParseVersion(d.ResumedTo)
	return runbook.IsAhead(d.Restored, known) && (err != nil || known >= resumed)
}

// current is the version that the device's status says it runs; 0 where that cannot be read.
func (d AgentDevice) current() runbook.Version {
	version, err := runbook.ParseVersion(d.Current)
	if err != nil {
		return 0
	}
	return version
}

// NextVersion is the version that rendering makes: past what was rendered before, what the device's status says, and
// what its agent knows, so that the agent accepts it. The error is a *Refusal, as runbook.NextVersion's.
func (d AgentDevice) NextVersion(known runbook.Version) (runbook.Version, error) {
	return runbook.NextVersion(d.Restored, max(known, d.current()).String())
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

// MayRender refuses a device whose spec Rollcall cannot render.
func (s *Store) MayRender(ctx context.Context, d AgentDevice) error {
	var row struct {
		Spec      []byte
		Templated bool
	}
	err := s.db.GetContext(ctx, &row, `select `+agentSpec+` as spec, f.name is not null as templated
from devices r`+agentFleet+` where r.org_id = $1 and r.name = $2`, d.OrgID, d.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it is gone, which rendering sees
	}
	if err == nil {
		_, err = runbook.RenderSpec(row.Spec, row.Templated)
	}
	if err != nil {
		return fmt.Errorf("read the spec of device %s: %w", d.Name, err)
	}
	return nil
}

const selectRendered = `
select ` + commonColumns + `, ` + agentSpec + ` as spec, f.name is not null as templated
from devices r` + agentFleet + `
where r.org_id = $1 and r.name = $2 and r.deleted_at is null and rollcall.device_state(r.annotations) = 'Normal'
  and r.annotations ->> $3 = $4 and ` + agentHash + ` = $5`

// RenderedDevice reads the device as its agent is served it: its name, its annotations and the spec that it is
// rendered from, without its status. ok is false where it is not normal any more, or its version or its spec is
// another since d was read, so that one version is never two specs. A spec that Rollcall cannot render is a *Refusal:
// an earlier release, or another program, has rendered it.
func (s *Store) RenderedDevice(ctx context.Context, d AgentDevice) (device Resource, ok bool, err error) {
	var row struct {
		resourceRow
		Templated bool `db:"templated"`
	}
	err = s.db.GetContext(ctx, &row, selectRendered, d.OrgID, d.Name, runbook.AnnotationRenderedVersion, d.Restored,
		d.SpecHash)
	if errors.Is(err, sql.ErrNoRows) {
		return Resource{}, false, nil
	}
	if err == nil {
		device, err = row.resource(KindDevice)
	}
	if err == nil {
		device.Spec, err = runbook.RenderSpec(device.Spec, row.Templated)
	}
	if err != nil {
		return Resource{}, false, fmt.Errorf("read rendered device %s: %w", d.Name, err)
	}
	return device, true, nil
}
