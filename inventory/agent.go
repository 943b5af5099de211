package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"

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
	// Seen tells that a status of the device was stored since RestoreID put it on its roll, so that the inventory watch takes
	// Current for what it runs.
	Seen bool
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

// selectAgents is one statement, so that a device and its row on the roll are of one moment, and finds each row by its primary
// key.
const selectAgents = `
select r.org_id, r.name, r.deleted_at is not null as deleted, rollcall.device_state(r.annotations) as device_state,
    coalesce(r.annotations ->> cast(:version_key as text), '') as restored,
    coalesce(r.annotations ->> cast(:hash_key as text), '') as rendered_hash,
    coalesce(r.status #>> '{config,renderedVersion}', '') as current_version,
    ` + agentHash + ` as spec_hash,
    coalesce(roll.restore_id, '') as restore_id, coalesce(roll.seq, 0) as seq, coalesce(roll.state, '') as roll_state, coalesce(roll.reported_version, '') as reported,
    coalesce(roll.seen, false) as seen
from devices r` + agentFleet + `
left join lateral (
    select l.restore_id, l.seq, l.state, l.reported_version,
        r.updated_at > l.since and exists (select from device_timestamps t where t.org_id = l.org_id and t.name = l.name and t.last_seen is not null) as seen
    from rollcall.roll l join rollcall.restores t on t.id = l.restore_id
    where l.org_id = r.org_id and l.name = r.name and not l.superseded and t.state = 'Running'
    order by t.started_at desc limit 1) roll on true
where r.org_id = cast(:org_id as uuid) and r.name = `

const (
	selectAgent     = selectAgents + `:name`
	selectAllAgents = selectAgents + `any(cast(:names as text[])) and r.deleted_at is null`
)

// agentKeys are the arguments of selectAgents, where one is asked for.
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
	Seen         bool          `db:"seen"`
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

// AgentDevices reads how the agents of several devices are to be answered, by name, each in an indexed read of one statement.
// Those whom the database has said to be missing, or deleted, are not among them.
func (s *Store) AgentDevices(ctx context.Context, orgID string, names []string) (map[string]AgentDevice, error) {
	stmt, err := s.prepare(ctx, selectAllAgents)
	if err != nil {
		return nil, err
	}
	var rows []agentRow
	err = stmt.SelectContext(ctx, &rows, struct {
		agentKeys
		Names pq.StringArray `db:"names"`
	}{keysOf(orgID, ""), names})
	if err != nil {
		return nil, fmt.Errorf("read %d devices for their agents: %w", len(names), err)
	}
	devices := make(map[string]AgentDevice, len(rows))
	for _, r := range rows {
		devices[r.Name] = r.device()
	}
	return devices, nil
}

// forgetSeen passes over a device that has been answered meanwhile.
const forgetSeen = `
update device_timestamps t set last_seen = null
from devices d
where t.org_id = $1 and t.name = $2 and d.org_id = t.org_id and d.name = t.name and rollcall.device_state(d.annotations) = $3`

// ForgetSeen makes a device that awaits its reconnect one that has not been seen, so that the inventory watch does not report
// what its stored status says. It is for a device that says now that it runs another version, and cannot be listened to yet. Of
// others, and where there is none, nothing is changed.
func (s *Store) ForgetSeen(ctx context.Context, orgID, name string) error {
	if _, err := s.db.ExecContext(ctx, forgetSeen, orgID, name, runbook.StateAwaitingReconnect); err != nil {
		return fmt.Errorf("forget that device %s was seen: %w", name, err)
	}
	return nil
}

func (r agentRow) device() AgentDevice {
	d := AgentDevice{
		OrgID: r.OrgID, Name: r.Name, State: r.DeviceState, Restored: r.Restored, Current: r.Current,
		SpecHash: r.SpecHash, RenderedHash: r.RenderedHash,
	}
	if r.RollState.Open() {
		d.RestoreID, d.Seq, d.Reported, d.Seen = r.RestoreID, r.Seq, r.Reported, r.Seen
		if !d.State.Open() {
			d.State = r.RollState
		}
	}
	return d
}
