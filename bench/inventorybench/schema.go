package inventorybench

import "rollcall/runbook"

// The values of --schemas.
const (
	schemaOwn       = "own"
	schemaFlightctl = "flightctl"
)

// flightctlTables are the tables of devices as a live Flight Control has them: other indexes than ours on the same
// columns, an index on when a device was seen, columns that are computed at each update, and triggers of its own.
// Rollcall's migration makes the rest.
const flightctlTables = `
create table organizations (
    id uuid primary key, external_id text not null default '', display_name text not null default '',
    created_at timestamptz, updated_at timestamptz
);
insert into organizations (id, display_name) values ('00000000-0000-0000-0000-000000000000', 'Default');
create table devices (
    org_id uuid not null references organizations (id), name text not null,
    owner text, labels jsonb, annotations jsonb, generation bigint, resource_version bigint,
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    alias text, spec jsonb, status jsonb, service_conditions jsonb,
    rendered_config jsonb, render_timestamp timestamptz, rendered_applications jsonb, rendered_os jsonb,
    search_text text generated always as (coalesce(alias, '') || ' ' || name) stored,
    primary key (org_id, name)
);
create index idx_devices_deleted_at on devices (deleted_at);
create index idx_devices_labels on devices using gin (labels jsonb_path_ops);
create index idx_devices_annotations on devices using gin (annotations);
create index idx_devices_status on devices using gin (status);
create index idx_devices_owner on devices (owner);
create index idx_devices_summary on devices ((status -> 'summary' ->> 'status'));
create unique index device_alias on devices (org_id, alias) where alias <> '';
create table device_timestamps (
    org_id uuid not null, name text not null, last_seen timestamptz, primary key (org_id, name),
    foreign key (org_id, name) references devices (org_id, name) on delete cascade
);
create index idx_device_timestamps_last_seen on device_timestamps (last_seen);
create table device_labels (
    org_id uuid not null, device_name text not null, label_key text not null, label_value text,
    primary key (org_id, device_name, label_key),
    foreign key (org_id, device_name) references devices (org_id, name) on delete cascade
);
create function make_device_timestamps() returns trigger language plpgsql as $$
begin
    insert into device_timestamps (org_id, name) values (new.org_id, new.name) on conflict do nothing;
    return new;
end $$;
create trigger device_timestamps_insert after insert on devices for each row execute function make_device_timestamps();
create function sync_device_labels() returns trigger language plpgsql as $$
begin
    delete from device_labels where org_id = new.org_id and device_name = new.name;
    insert into device_labels select new.org_id, new.name, key, value from jsonb_each_text(coalesce(new.labels, '{}'));
    return new;
end $$;
create trigger device_labels_insert after insert on devices for each row execute function sync_device_labels();
create trigger device_labels_update after update of labels on devices
    for each row when (old.labels is distinct from new.labels) execute function sync_device_labels();`

// insertFleet makes $1 devices with names as long as real ones, in fleets of 500 and sites of 400, each with a status
// of about
// 1.5 KB as an agent writes it. All run version 5; one in a hundred has an application in error.
const insertFleet = `
insert into devices (org_id, name, owner, labels, annotations, generation, resource_version, created_at, updated_at,
alias, spec, status)
select '00000000-0000-0000-0000-000000000000', left(d.hash || md5(d.hash), 52), 'Fleet/fleet-' || d.i / 500,
    jsonb_build_object('site', 'site-' || d.i % (($1 + 399) / 400), 'environment', (array['production', 'staging',
    'test'])[1 + d.i % 3],
        'tier', 'tier-' || d.i % 7, 'region', 'region-' || d.i % 20, 'serial', 'sn-' || d.i),
    jsonb_build_object('device-controller/renderedVersion', '5', 'device-controller/renderedSpecHash',
    md5(d.hash || 'spec'),
        'fleet-controller/templateVersion', 'v-' || d.i / 500,
        'fleet-controller/renderedTemplateVersion', 'v-' || d.i / 500),
    3, 17, now() - interval '90 days', now() - interval '1 hour', 'gate-' || d.i,
    jsonb_build_object('os', jsonb_build_object('image', 'quay.io/example/os:1.' || d.i % 7),
        'config', jsonb_build_array(jsonb_build_object('name', 'base', 'inline', jsonb_build_array(jsonb_build_object(
            'path', '/etc/motd', 'content', repeat('welcome to ' || d.i % 50 || ' ', 20)))))),
    jsonb_build_object(
        'summary', jsonb_build_object('status', 'Online', 'info', 'Device is online'),
        'updated', jsonb_build_object('status', 'UpToDate', 'info', 'Device was updated to the latest device spec'),
        'lifecycle', jsonb_build_object('status', 'Enrolled'),
        'applicationsSummary', jsonb_build_object('status', case when d.i % 100 = 0 then 'Error' else 'Healthy' end),
        'applications', jsonb_build_array(
            jsonb_build_object('name', 'pos', 'ready', '2/2', 'restarts', d.i % 4, 'status', 'Running'),
            jsonb_build_object('name', 'telemetry', 'ready', '1/1', 'restarts', 0, 'status', 'Running')),
        'config', jsonb_build_object('renderedVersion', '5'),
        'os', jsonb_build_object('image', 'quay.io/example/os:1.' || d.i % 7, 'imageDigest',
        'sha256:' || md5((d.i % 7)::text) || md5((d.i % 7)::text || 'x')),
        'integrity', jsonb_build_object('status', 'Verified', 'tpm', 'Verified', 'deviceIdentity', 'Verified'),
        'resources', jsonb_build_object('cpu', 'Healthy', 'memory', 'Healthy', 'disk', 'Healthy'),
        'conditions', jsonb_build_array(
            jsonb_build_object('type', 'Updating', 'status', 'False', 'reason', 'Updated', 'message',
            'Updated to desired renderedVersion: 5',
                'lastTransitionTime',
                to_char(timestamp '2026-07-01' + d.i * interval '7 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
            jsonb_build_object('type', 'SpecValid', 'status', 'True', 'reason', 'Valid', 'message', '',
                'lastTransitionTime',
                to_char(timestamp '2026-06-01' + d.i * interval '7 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))),
        'systemInfo', jsonb_build_object('hostname', 'host-' || d.i, 'machineID', md5(d.hash || 'm'), 'bootID',
        md5(d.hash || 'b'),
            'architecture', 'amd64', 'operatingSystem', 'linux',
            'kernel', '5.14.0-427.13.1.el9_4.x86_64', 'distroName', 'Red Hat Enterprise Linux',
            'distroVersion', '9.4', 'agentVersion', 'v0.8.' || d.i % 3, 
            'netIpDefault', '10.' || d.i / 65536 || '.' || d.i / 256 % 256
                || '.' || d.i % 256,
            'netMacDefault', left(d.hash, 12), 'productSerial', 'sn-' || d.i))
from (select i, md5('device ' || i) as hash from generate_series(0, $1 - 1) i) d`

const setLastSeen = `
update device_timestamps set last_seen = now() - (ascii(right(name, 1)) + ascii(left(name, 1))) * interval '1 minute'`

// floorRoll is one UPDATE of the devices with the effect that a whole roll has on them, and nothing else.
const floorRoll = `
update devices set
    annotations = (annotations - 'device-controller/conflictPaused')
        || '{"device-controller/awaitingReconnect": "true"}',
    status = status || jsonb_build_object('summary', (status -> 'summary')
            || '{"status": "AwaitingReconnect", "info": "` + runbook.InfoAwaitingReconnect + `"}',
        'updated', '{"status": "Unknown"}'::jsonb),
    resource_version = resource_version + 1,
    updated_at = now()`

// floorTransition is the UPDATE of one device with the effect that T2 or T3 has on it, with no rule: $3 are annotations
// to add, $4 to $6 parts of the status.
const floorTransition = `
update devices set
    annotations = (annotations - array['device-controller/awaitingReconnect',
    'device-controller/conflictPaused']) || $3::jsonb,
    status = status || jsonb_build_object('summary', ((status -> 'summary') - 'info') || $4::jsonb,
        'updated', $5::jsonb, 'config', (status -> 'config') || $6::jsonb),
    resource_version = resource_version + 1,
    updated_at = now()
where org_id = $1 and name = $2`

// sameDevices is one number for what a roll makes of a fleet.
const sameDevices = `
select coalesce(sum(hashtext(name || annotations::text || status::text || resource_version)::bigint), 0)
    + (select coalesce(sum(hashtext(name || state || restored_version || fleet || last_seen_before)::bigint), 0)
    from rollcall.roll)
    + (select coalesce(sum(hashtext(name || transition || from_state || to_state)::bigint), 0)
    from rollcall.transitions)
from devices`
