package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"

	"rollcall/internal/authority"
	"rollcall/internal/fault"
	"rollcall/inventory/credentials"
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
	// Called reports whether the roll call has come to the device: its workflow has been asked for, or is about to be.
	Called bool
	// Noted is the version that was noted for the roll call of RestoreID before the device's workflow had started; empty
	// if none.
	Noted string
	// Beside reports whether the organisation's newest restore is one beside Flight Control, whose server answers agents.
	Beside bool
	// Restored is the annotation of the rendered version, and Current what the device's status says that it runs; either
	// may be unreadable.
	Restored string
	Current  string
	// Reported is what the device has reported since the restore, empty if nothing.
	Reported string
	// SpecHash is of what the device is to be rendered from, empty where there is no spec; RenderedHash is of what it was
	// rendered from last.
	SpecHash     string
	RenderedHash string
	// Credentials say which certificates may act for the device.
	Credentials Credentials
	// ResumedTo is the version past all that the device knew when a human resumed it, in the newest restore that had it
	// on its roll; empty where no one has.
	ResumedTo string
	// Revoked reports whether the certificate that was asked about, or its key, was revoked.
	Revoked bool
}

// Credentials say which certificates may act for a device. They are the same as long as that is.
type Credentials struct {
	// CSR is the signing request in PEM that was approved for the device, and ApprovedAt when that was; empty where none
	// was.
	CSR        string `db:"approved_csr"`
	ApprovedAt string `db:"approved_at"`
	// Revocations is the number of the newest revocation of any certificate.
	Revocations int64 `db:"revocations"`
}

// KnownKey returns the key that was approved for the device.
func (c Credentials) KnownKey() runbook.KnownKey {
	fingerprint, _, _ := authority.KeyOf(c.CSR)
	since, _ := time.Parse(time.RFC3339, c.ApprovedAt) // an approval of an unknown time has replaced no key
	return runbook.KnownKey{Fingerprint: fingerprint, Since: since}
}

// agentSpec is what a device is rendered from: the template of the fleet that owns it, and, where there is no such
// fleet, its own spec, as in `starter describe`. A spec of its own that is empty is none: so a device begins when it is
// approved, and no one has written it. It is of devices r and joins the fleet as f.
const (
	agentFleet = `
left join fleets f on f.org_id = r.org_id and f.deleted_at is null and r.owner like 'Fleet/%'
and f.name = substr(r.owner, 7)`
	agentSpec = `case when f.name is null then nullif(r.spec, '{}') else f.spec #> '{template,spec}' end`
	// The text of jsonb is canonical, so that its hash is. What is no object is no spec, and is never rendered: an agent
	// that were given none would remove all that it runs.
	// Several providers of a configuration are rendered as one, which earlier releases did not do.
	agentHash = `case jsonb_typeof(` + agentSpec + `) when 'object' then encode(sha256(convert_to(cast(` + agentSpec +
		` as text) || case jsonb_typeof(` + agentSpec + ` -> 'config') when 'array' then
			case when jsonb_array_length(` + agentSpec + ` -> 'config') > 1 then ' as one' else '' end else '' end,
		'UTF8')), 'hex') else '' end`
)

// selectAgents is one statement, so that a device and its row on the roll are of one moment, and finds each row by its
// primary key.
var selectAgents = `
select r.org_id, r.name, r.deleted_at is not null as deleted, rollcall.device_state(r.annotations) as device_state,
    coalesce(r.annotations ->> cast(:version_key as text), '') as restored,
    coalesce(r.annotations ->> cast(:hash_key as text), '') as rendered_hash,
    coalesce(r.status #>> '{config,renderedVersion}', '') as current_version,
    ` + agentHash + ` as spec_hash,
    coalesce(roll.restore_id, '') as restore_id, coalesce(roll.called, false) as called, coalesce(roll.state,
    '') as roll_state, coalesce(roll.reported_version, '') as reported,
    coalesce(roll.noted_version, '') as noted,
    coalesce((select b.mode = 'flightctl' from rollcall.restores b where ` + fmt.Sprintf(lastRestore, "r.org_id") + `),
    false) as beside,
    coalesce((select case l.state when 'Normal' then l.next_version end
        from rollcall.roll l join rollcall.restores t on t.id = l.restore_id
        where l.org_id = r.org_id and l.name = r.name order by t.started_at desc, t.id desc limit 1), '') as resumed_to,
    coalesce(approved.csr, '') as approved_csr, coalesce(approved.at, '') as approved_at,
    ` + credentials.Newest + ` as revocations, ` + credentials.Revoked("r.org_id", ":serial", ":key") + ` as revoked
from devices r` + agentFleet + `
left join lateral (
    select e.spec ->> 'csr' as csr, coalesce(nullif(e.status #>> '{approval,approvedAt}', ''),
        to_json(e.created_at) #>> '{}') as at
    from enrollment_requests e
    where e.org_id = r.org_id and e.name = r.name and e.status #> '{approval,approved}' = cast('true' as jsonb))
    approved on true
left join lateral (
    select l.restore_id, l.batch is not null or not t.by_wave as called, l.state, l.reported_version, l.noted_version
    from rollcall.roll l join rollcall.restores t on t.id = l.restore_id
    where l.org_id = r.org_id and l.name = r.name and not l.superseded and t.state = 'Running'
    order by t.started_at desc limit 1) roll on true
where r.org_id = cast(:org_id as uuid) and r.name = `

var (
	selectAgent     = selectAgents + `:name`
	selectAllAgents = selectAgents + `any(cast(:names as text[])) and r.deleted_at is null`
)

// agentKeys are the arguments of selectAgents, where one is asked for.
type agentKeys struct {
	OrgID      string `db:"org_id"`
	Name       string `db:"name"`
	VersionKey string `db:"version_key"`
	HashKey    string `db:"hash_key"`
	// Serial and Key are of the certificate of a device's agent.
	Serial string `db:"serial"`
	Key    string `db:"key"`
}

func keysOf(orgID, name string) agentKeys {
	return agentKeys{
		OrgID: orgID, Name: name, VersionKey: runbook.AnnotationRenderedVersion,
		HashKey: runbook.AnnotationRenderedSpecHash,
	}
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
	Called       bool          `db:"called"`
	RollState    runbook.State `db:"roll_state"`
	Reported     string        `db:"reported"`
	Noted        string        `db:"noted"`
	Beside       bool          `db:"beside"`
	ResumedTo    string        `db:"resumed_to"`
	Revoked      bool          `db:"revoked"`
	Credentials
}

// AgentDevice reads how a device's agent is to be answered that has this certificate, in one indexed read. found is
// false only where the database has said that the device is not there, or is deleted; whatever keeps it from saying so
// is an error.
func (s *Store) AgentDevice(
	ctx context.Context, orgID, name string, by runbook.Certificate,
) (d AgentDevice, found bool, err error) {
	stmt, err := s.prepare(ctx, selectAgent)
	if err != nil {
		return AgentDevice{}, false, err
	}
	var r agentRow
	keys := keysOf(orgID, name)
	keys.Serial, keys.Key = by.Serial, by.Key
	err = stmt.GetContext(ctx, &r, keys)
	if errors.Is(err, sql.ErrNoRows) {
		return AgentDevice{}, false, nil
	}
	if err != nil {
		return AgentDevice{}, false, fmt.Errorf("read device %s for its agent: %w", name, err)
	}
	return r.device(), !r.Deleted, nil
}

// AgentDevices reads how the agents of several devices are to be answered, by name, each in an indexed read of one
// statement. Those that the database has said to be missing, or deleted, are not among them. Of no certificate it says
// that it was revoked.
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

func (r agentRow) device() AgentDevice {
	d := AgentDevice{
		OrgID: r.OrgID, Name: r.Name, State: r.DeviceState, Restored: r.Restored, Current: r.Current,
		SpecHash: r.SpecHash, RenderedHash: r.RenderedHash, Beside: r.Beside,
		Credentials: r.Credentials, ResumedTo: r.ResumedTo, Revoked: r.Revoked,
	}
	if r.RollState.Open() {
		d.RestoreID, d.Called, d.Reported, d.Noted = r.RestoreID, r.Called, r.Reported, r.Noted
		d.State = r.RollState.OnRoll(r.DeviceState)
	}
	return d
}

// putStatus replaces a device's status by its agent's, but for what is the service's own: lifecycle and updated always;
// summary and the version that it runs while it is paused, as a resume renders past what the roll call knows; summary
// while it awaits its reconnect. An agent's summary that claims such a state is not the agent's to claim. An agent says
// Unknown of its summary, its applications and its integrity where the service is to say it. That it updates, or has
// left after it was told to, it says in its conditions. All that is as in Flight Control. What decides is the row as it
// is once it is locked, so that a report that overtakes this one is not undone.
const putStatus = `
with changed as (
    update devices d set
        status = (cast(:status as jsonb) - array['lifecycle', 'updated', 'lastSeen'])
            || case when d.status #>> '{lifecycle,status}' = 'Decommissioning'
                and jsonb_path_exists(cast(:status as jsonb),
                    '$.conditions[*] ? (@.type == "DeviceDecommissioning" && @.status == "True"
                        && (@.reason == "Completed" || @.reason == "Error"))')
                then jsonb_build_object('lifecycle', (d.status -> 'lifecycle')
                    || jsonb_build_object('status', 'Decommissioned'))
                when d.status -> 'lifecycle' is not null
                then jsonb_build_object('lifecycle', d.status -> 'lifecycle') else cast('{}' as jsonb) end
            || (select coalesce(jsonb_object_agg(k, d.status -> k), '{}')
                from unnest(cast('{integrity,applicationsSummary}' as text[])) k
                where d.status -> k is not null
                  and coalesce(cast(:status as jsonb) -> k ->> 'status', 'Unknown') = 'Unknown')
            || jsonb_build_object('updated', rollcall.object(d.status -> 'updated') || case
                when rollcall.device_state(d.annotations) <> 'Normal'
                or cast(:reported as text) is null then cast('{}' as jsonb)
                when jsonb_path_exists(cast(:status as jsonb),
                    '$.conditions[*] ? (@.type == "Updating" && @.status == "True")')
                    then jsonb_build_object('status', 'Updating')
                when coalesce(nullif(:reported, ''), '0') = coalesce(nullif(d.annotations ->> cast(:version_key as
                text), ''), '0')
                    then jsonb_build_object('status', cast(:up_to_date as text))
                else jsonb_build_object('status', cast(:out_of_date as text)) end)
            || case when d.status -> 'summary' is not null and (rollcall.device_state(d.annotations) <> 'Normal'
                    or coalesce(cast(:status as jsonb) #>> '{summary,status}', '') in ('', 'Unknown',
                    'AwaitingReconnect', 'ConflictPaused'))
                then jsonb_build_object('summary', d.status -> 'summary') else cast('{}' as jsonb) end
            || case when rollcall.device_state(d.annotations) = 'ConflictPaused'
                then jsonb_build_object('config', rollcall.object(cast(:status as jsonb) -> 'config')
                    || jsonb_build_object('renderedVersion', coalesce(d.status #>> '{config,renderedVersion}', '')))
                else cast('{}' as jsonb) end,
        resource_version = coalesce(d.resource_version, 0) + 1,
        updated_at = now()
    where d.org_id = cast(:org_id as uuid) and d.name = :name and d.deleted_at is null
      and (cast(:at as text) = '' or cast(coalesce(d.resource_version, 0) as text) = cast(:at as text))
    returning d.*
), seen as (
    insert into device_timestamps (org_id, name, last_seen)
    select org_id, name, now() from changed
    where cast(:reported as text) is not null or cast(:at as text) = ''
    or rollcall.device_state(annotations) <> 'AwaitingReconnect'
    on conflict (org_id, name) do update set last_seen = excluded.last_seen
)
select ` + commonColumns + `, r.spec, r.status, now() as last_seen from changed r`

// PutStatus stores the status that a device's agent reports, a JSON object, and when it was seen. reported is
// status.config.renderedVersion, nil where the agent does not say. found is false only where the database has said that
// there is no such device. A status that PostgreSQL cannot hold (a NUL, a number beyond all bounds) is a *Refusal with
// CodeInvalidRequest.
func (s *Store) PutStatus(
	ctx context.Context, orgID, name string, status json.RawMessage, reported *string,
) (device Resource, found bool, err error) {
	return s.putStatus(ctx, orgID, name, "", status, reported)
}

// PatchedStatus is PutStatus for a status that was made from the device as it was at resourceVersion. stored is false
// where the device is not there any more, or is another by now: read it and make the status again. The parts of it that
// the patch left alone may be the backup's, so that a device which awaits its reconnect counts as seen only where
// reported is given.
func (s *Store) PatchedStatus(
	ctx context.Context, orgID, name, resourceVersion string, status json.RawMessage, reported *string,
) (device Resource, stored bool, err error) {
	return s.putStatus(ctx, orgID, name, resourceVersion, status, reported)
}

func (s *Store) putStatus(
	ctx context.Context, orgID, name, at string, status json.RawMessage, reported *string,
) (device Resource, found bool, err error) {
	stmt, err := s.prepare(ctx, putStatus)
	if err != nil {
		return Resource{}, false, err
	}
	var row resourceRow
	err = stmt.GetContext(ctx, &row, struct {
		agentKeys
		At        string  `db:"at"`
		Status    string  `db:"status"`
		Reported  *string `db:"reported"`
		UpToDate  string  `db:"up_to_date"`
		OutOfDate string  `db:"out_of_date"`
	}{keysOf(orgID, name), at, string(status), reported, runbook.UpdatedUpToDate, runbook.UpdatedOutOfDate})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Resource{}, false, nil
	case unstorable(err):
		return Resource{}, false, runbook.Refuse(runbook.CodeInvalidRequest, "the status cannot be stored: %v", err)
	case err == nil:
		device, err = row.resource(KindDevice)
	}
	if err != nil {
		return Resource{}, false, fmt.Errorf("store the status of device %s: %w", name, err)
	}
	return device, true, nil
}

// unstorable reports whether PostgreSQL complains about the data: classes "data exception" and "program limit
// exceeded".
func unstorable(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) &&
		(strings.HasPrefix(string(pqErr.Code), "22") || strings.HasPrefix(string(pqErr.Code), "54"))
}

// NoteReportInput is the version that a device's agent has reported.
type NoteReportInput struct {
	RestoreID string
	Name      string
	// Version is as the agent reported it, readable or not. An empty one is noted as 0.
	Version string
}

// Noted is what became of a report.
type Noted struct {
	Name string `db:"name"`
	// Called reports whether the roll call has come to the device: its workflow does not know of the note, and must be
	// told.
	Called bool `db:"called"`
}

// noteReports writes only to the rows of devices that their restore still waits for. Another state means that the
// workflow of the device has started, and a report that is told to it is newer than a note.
const noteReports = `
with found as materialized (
    select r.restore_id, r.name, s.version, r.batch is not null or not t.by_wave as called
    from unnest(cast($2 as text[]), cast($3 as text[]), cast($4 as text[])) as s(restore_id, name, version)
    join rollcall.roll r on r.org_id = cast($1 as uuid) and r.name = s.name and r.restore_id = s.restore_id
    join rollcall.restores t on t.id = r.restore_id and t.state = $6
    where r.state = $5 and not r.superseded
    order by r.name for no key update of r
)
update rollcall.roll r set noted_version = f.version
from found f where r.org_id = cast($1 as uuid) and r.name = f.name and r.restore_id = f.restore_id
returning r.name, f.called`

// NoteReports keeps reports of different devices of an organisation on their rolls, in one statement. A newer note
// replaces an older one. A device that the roll call has not come to is called before others, and its workflow begins
// with the report. Those that no restore waits for are not among the noted.
func (s *Store) NoteReports(ctx context.Context, orgID string, reports []NoteReportInput) ([]Noted, error) {
	fault.At(fault.BeforeNote)
	defer fault.At(fault.AfterNote)
	restores, names := make(pq.StringArray, len(reports)), make(pq.StringArray, len(reports))
	versions := make(pq.StringArray, len(reports))
	for i, r := range reports {
		restores[i], names[i], versions[i] = r.RestoreID, r.Name, runbook.OrZero(r.Version)
	}
	var noted []Noted
	err := s.db.SelectContext(ctx, &noted, noteReports, orgID, restores, names, versions,
		runbook.StateAwaitingReconnect, runbook.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("note what %d devices have reported: %w", len(reports), err)
	}
	return noted, nil
}

// StatusCounts is after how long the version in a status counts as a device's report, where its agent has neither
// polled nor put another status since. A poll that is held says nothing new for three minutes, and an agent whose polls
// fail waits for five.
const StatusCounts = 10 * time.Minute

const noteStatus = `
update rollcall.roll r set status_version = $4, status_at = case when cast($4 as text) is not null then now() end
from rollcall.restores t
where r.org_id = cast($1 as uuid) and r.name = $2 and r.restore_id = $3 and r.state = $5 and not r.superseded
  and t.id = r.restore_id and t.state = $6`

// NoteStatus keeps the version in a status on the roll, for a device that awaits its reconnect. The inventory watch
// tells it where nothing else has reported within StatusCounts. updating says that the device is about to run another
// version: what it has said before counts no more.
func (s *Store) NoteStatus(ctx context.Context, orgID string, in NoteReportInput, updating bool) error {
	version := sql.NullString{String: runbook.OrZero(in.Version), Valid: !updating}
	_, err := s.db.ExecContext(ctx, noteStatus, orgID, in.Name, in.RestoreID, version,
		runbook.StateAwaitingReconnect, runbook.RestoreRunning)
	if err != nil {
		return fmt.Errorf("note the status of device %s: %w", in.Name, err)
	}
	return nil
}

// seenAtOnce is how many devices one statement marks as seen.
const seenAtOnce = 1000

// markSeen passes over rows that another holds: whoever writes one writes a time of its own. A poll from before T1 says
// nothing of a device that a restore has put on its roll since. The poll with which a device has answered the roll call
// comes before T2 or T3, and counts: of a device that waits no more, the beginning of its restore is what is known.
const markSeen = `
with fresh as (
    select t.org_id, t.name, now() - s.ago * interval '1 millisecond' as at
    from unnest(cast($2 as text[]), cast($3 as bigint[])) as s(name, ago)
    join device_timestamps t on t.org_id = cast($1 as uuid) and t.name = s.name
    where (t.last_seen is null or t.last_seen < now() - s.ago * interval '1 millisecond')
      and not exists (
        select from rollcall.roll l join rollcall.restores r on r.id = l.restore_id
        where l.org_id = t.org_id and l.name = t.name and r.state = $4 and not l.superseded
          and case when l.state = $5 then l.since else r.started_at end > now() - s.ago * interval '1 millisecond')
    order by t.name for no key update of t skip locked
)
update device_timestamps t set last_seen = f.at from fresh f where t.org_id = f.org_id and t.name = f.name`

// MarkSeen stores how long ago devices were last heard of, by name. A device that is not there is passed over.
func (s *Store) MarkSeen(ctx context.Context, orgID string, ago map[string]time.Duration) error {
	for names := range slices.Chunk(slices.Sorted(maps.Keys(ago)), seenAtOnce) {
		millis := make(pq.Int64Array, len(names))
		for i, name := range names {
			millis[i] = ago[name].Milliseconds()
		}
		if _, err := s.db.ExecContext(ctx, markSeen, orgID, pq.Array(names), millis,
			runbook.RestoreRunning, runbook.StateAwaitingReconnect); err != nil {
			return fmt.Errorf("store when %d devices were seen: %w", len(names), err)
		}
	}
	return nil
}
