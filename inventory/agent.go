package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"rollcall/runbook"
)

// AgentDevice is what decides how a device's agent is answered.
type AgentDevice struct {
	OrgID string
	Name  string
	// State is where the device stands. Its annotations count, and where another hand has taken them away, the roll.
	State runbook.State
	// RestoreID is the running restore that waits for the device; empty where none does, also for a device that waits.
	RestoreID string
	// Seq is the device's number on the roll of RestoreID, from 0.
	Seq int64
	// Restored is the annotation of the rendered version, and Current what the device's status says that it runs; either may
	// be unreadable.
	Restored string
	Current  string
	// Reported is what the device has reported since the restore, empty if nothing.
	Reported string
	// SpecHash is of what the device is to be rendered from, empty where there is no spec; RenderedHash is of what it was
	// rendered from last.
	SpecHash     string
	RenderedHash string
}

// agentSpec is what a device is rendered from: the template of the fleet that owns it, and, where there is no such fleet,
// its own spec, as in `starter describe`. A spec of its own that is empty is none: so a device begins when it is approved,
// and nobody has written it. It is of devices r and joins the fleet as f.
const (
	agentFleet = `
left join fleets f on f.org_id = r.org_id and f.deleted_at is null and r.owner like 'Fleet/%' and f.name = substr(r.owner, 7)`
	agentSpec = `case when f.name is null then nullif(r.spec, '{}') else f.spec #> '{template,spec}' end`
	// The text of jsonb is canonical, so that its hash is. What is no object is no spec, and is never rendered: an agent that
	// were given none would remove all that it runs.
	agentHash = `case jsonb_typeof(` + agentSpec + `) when 'object' then encode(sha256(convert_to(cast(` + agentSpec + ` as text), 'UTF8')), 'hex') else '' end`
)

// selectAgent is one statement, so that the device and its row on the roll are of one moment, and finds each row by its
// primary key.
const selectAgent = `
select r.org_id, r.name, r.deleted_at is not null as deleted, rollcall.device_state(r.annotations) as device_state,
    coalesce(r.annotations ->> cast(:version_key as text), '') as restored,
    coalesce(r.annotations ->> cast(:hash_key as text), '') as rendered_hash,
    coalesce(r.status #>> '{config,renderedVersion}', '') as current_version,
    ` + agentHash + ` as spec_hash,
    coalesce(roll.restore_id, '') as restore_id, coalesce(roll.seq, 0) as seq, coalesce(roll.state, '') as roll_state, coalesce(roll.reported_version, '') as reported
from devices r` + agentFleet + `
left join lateral (
    select l.restore_id, l.seq, l.state, l.reported_version
    from rollcall.roll l join rollcall.restores t on t.id = l.restore_id
    where l.org_id = r.org_id and l.name = r.name and not l.superseded and t.state = 'Running'
    order by t.started_at desc limit 1) roll on true
where r.org_id = cast(:org_id as uuid) and r.name = :name`

// agentKeys are the arguments of selectAgent.
type agentKeys struct {
	OrgID      string `db:"org_id"`
	Name       string `db:"name"`
	VersionKey string `db:"version_key"`
	HashKey    string `db:"hash_key"`
}

func keysOf(orgID, name string) agentKeys {
	return agentKeys{OrgID: orgID, Name: name, VersionKey: runbook.AnnotationRenderedVersion, HashKey: runbook.AnnotationRenderedSpecHash}
}

type agentRow struct {
	OrgID        string        `db:"org_id"`
	Name         string        `db:"name"`
	Deleted      bool          `db:"deleted"`
	DeviceState  runbook.State `db:"device_state"`
	Restored     string        `db:"restored"`
	RenderedHash string        `db:"rendered_hash"`
	Current      string        `db:"current_version"`
	SpecHash     string        `db:"spec_hash"`
	RestoreID    string        `db:"restore_id"`
	Seq          int64         `db:"seq"`
	RollState    runbook.State `db:"roll_state"`
	Reported     string        `db:"reported"`
}

// AgentDevice reads how a device's agent is to be answered, in one indexed read. found is false only where the database
// has said that the device is not there, or is deleted; whatever keeps it from saying so is an error.
func (s *Store) AgentDevice(ctx context.Context, orgID, name string) (d AgentDevice, found bool, err error) {
	stmt, err := s.prepare(ctx, selectAgent)
	if err != nil {
		return AgentDevice{}, false, err
	}
	var r agentRow
	err = stmt.GetContext(ctx, &r, keysOf(orgID, name))
	if errors.Is(err, sql.ErrNoRows) {
		return AgentDevice{}, false, nil
	}
	if err != nil {
		return AgentDevice{}, false, fmt.Errorf("read device %s for its agent: %w", name, err)
	}
	return r.device(), !r.Deleted, nil
}

func (r agentRow) device() AgentDevice {
	d := AgentDevice{
		OrgID: r.OrgID, Name: r.Name, State: r.DeviceState, Restored: r.Restored, Current: r.Current,
		SpecHash: r.SpecHash, RenderedHash: r.RenderedHash,
	}
	if r.RollState.Open() {
		d.RestoreID, d.Seq, d.Reported = r.RestoreID, r.Seq, r.Reported
		if !d.State.Open() {
			d.State = r.RollState
		}
	}
	return d
}
