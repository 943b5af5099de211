-- A database as Flight Control's own migration leaves it, in miniature: the tables that Rollcall shares, with columns, indexes and
-- triggers that Rollcall has not got. Rollcall must neither need to know of them nor alter any.
create extension if not exists plpgsql;

create table organizations (
    id           uuid primary key,
    external_id  text not null default '',
    display_name text not null default '',
    plan         text not null default 'standard',
    created_at   timestamptz,
    updated_at   timestamptz
);
create unique index org_external_id_idx on organizations (external_id) where external_id <> '';
insert into organizations (id, display_name, plan) values ('00000000-0000-0000-0000-000000000000', 'Default', 'gold');

create table fleets (
    org_id uuid not null references organizations (id),
    name text not null,
    owner text, labels jsonb, annotations jsonb, generation bigint, resource_version bigint,
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    spec jsonb, status jsonb,
    rollout_batch bigint not null default 7,
    primary key (org_id, name)
);

create table devices (
    org_id uuid not null references organizations (id),
    name text not null,
    owner text, labels jsonb, annotations jsonb, generation bigint, resource_version bigint,
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    alias text, spec jsonb, status jsonb, service_conditions jsonb,
    rendered_config jsonb, render_timestamp timestamptz, rendered_applications jsonb, rendered_os jsonb,
    change_number bigint not null default 100,
    management_certificate text not null default 'none',
    search_text text generated always as (coalesce(alias, '') || ' ' || name) stored,
    check (change_number >= 100),
    primary key (org_id, name)
);
create index idx_devices_deleted_at on devices (deleted_at);
create index idx_devices_labels on devices using gin (labels jsonb_path_ops);
create index idx_devices_annotations on devices using gin (annotations);
create index idx_devices_status on devices using gin (status);
create index idx_devices_summary on devices ((status -> 'summary' ->> 'status'));
create unique index device_alias on devices (org_id, alias) where alias <> '';

create table device_timestamps (
    org_id uuid not null,
    name text not null,
    last_seen timestamptz,
    polls bigint not null default 0,
    primary key (org_id, name),
    foreign key (org_id, name) references devices (org_id, name) on delete cascade
);
create index idx_device_timestamps_last_seen on device_timestamps (last_seen);

create table device_labels (
    org_id uuid not null,
    device_name text not null,
    label_key text not null,
    label_value text,
    primary key (org_id, device_name, label_key),
    foreign key (org_id, device_name) references devices (org_id, name) on delete cascade
);

create table enrollment_requests (
    org_id uuid not null references organizations (id),
    name text not null,
    owner text, labels jsonb, annotations jsonb, generation bigint, resource_version bigint,
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    spec jsonb, status jsonb,
    renewals bigint not null default 0,
    primary key (org_id, name)
);

create table events (
    org_id uuid not null references organizations (id),
    name text not null,
    owner text, labels jsonb, annotations jsonb, generation bigint, resource_version bigint,
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    reason text, source_component text, actor text, type text, message text, details jsonb,
    involved_object_name text, involved_object_kind text,
    delivered boolean not null default false,
    primary key (org_id, name)
);
create index idx_events_reason on events (reason);

create table event_counts (org_id uuid primary key, n bigint not null default 0);

create function make_device_timestamps() returns trigger language plpgsql as $$
begin
    insert into device_timestamps (org_id, name) values (new.org_id, new.name) on conflict do nothing;
    return new;
end $$;
create trigger device_timestamps_insert after insert on devices for each row execute function make_device_timestamps();

create function sync_device_labels() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        delete from device_labels l where l.org_id = new.org_id and l.device_name = new.name and not new.labels ? l.label_key;
    end if;
    insert into device_labels select new.org_id, new.name, key, value from jsonb_each_text(coalesce(new.labels, '{}'))
    on conflict (org_id, device_name, label_key) do update set label_value = excluded.label_value;
    return new;
end $$;
create trigger device_labels_insert after insert on devices for each row execute function sync_device_labels();
create trigger device_labels_sync after update of labels on devices for each row
    when (old.labels is distinct from new.labels) execute function sync_device_labels();

create function bump_change_number() returns trigger language plpgsql as $$
begin
    new.change_number := old.change_number + 1;
    return new;
end $$;
create trigger device_change_number before update on devices for each row execute function bump_change_number();

create function count_event() returns trigger language plpgsql as $$
begin
    insert into event_counts values (new.org_id, 1) on conflict (org_id) do update set n = event_counts.n + 1;
    return null;
end $$;
create trigger events_count after insert on events for each row execute function count_event();
