-- +goose Up
-- Flight Control's tables, by its names, so that the same SQL runs on a database of our own and on a restored one. Each is
-- made only where it is missing; indexes, triggers and foreign keys only between tables that are made here, because on a
-- live database they are Flight Control's to choose. The functions are in our schema for the same reason.
-- +goose StatementBegin
create function rollcall.device_inserted() returns trigger language plpgsql as $$
begin
    insert into public.device_timestamps (org_id, name) values (new.org_id, new.name) on conflict do nothing;
    return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function rollcall.device_labels_changed() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        delete from public.device_labels where org_id = new.org_id and device_name = new.name;
    end if;
    if jsonb_typeof(new.labels) = 'object' then
        insert into public.device_labels (org_id, device_name, label_key, label_value)
        select new.org_id, new.name, l.key, l.value from jsonb_each_text(new.labels) l;
    end if;
    return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
declare
    made_organizations boolean := to_regclass('public.organizations') is null;
    made_devices       boolean := to_regclass('public.devices') is null;
    made_timestamps    boolean := to_regclass('public.device_timestamps') is null;
    made_labels        boolean := to_regclass('public.device_labels') is null;
    made_requests      boolean := to_regclass('public.enrollment_requests') is null;
    made_fleets        boolean := to_regclass('public.fleets') is null;
    made_events        boolean := to_regclass('public.events') is null;
begin
    if made_organizations then
        create table public.organizations (
            id           uuid primary key,
            external_id  text,
            display_name text,
            created_at   timestamptz default now(),
            updated_at   timestamptz default now()
        );
        create unique index organizations_external_id on public.organizations (external_id) where external_id <> '';
        insert into public.organizations (id, external_id, display_name)
        values ('00000000-0000-0000-0000-000000000000', '', 'Default');
    end if;

    if made_devices then
        create table public.devices (
            org_id                uuid not null,
            name                  text not null,
            owner                 text,
            labels                jsonb,
            annotations           jsonb,
            generation            bigint,
            resource_version      bigint,
            created_at            timestamptz,
            updated_at            timestamptz,
            deleted_at            timestamptz,
            alias                 text,
            spec                  jsonb,
            status                jsonb,
            service_conditions    jsonb,
            rendered_config       jsonb,
            render_timestamp      timestamptz,
            rendered_applications jsonb,
            rendered_os           jsonb,
            primary key (org_id, name)
        );
        create index devices_owner on public.devices (org_id, owner);
        create index devices_alias on public.devices (org_id, alias);
        create index devices_labels on public.devices using gin (labels);
        create index devices_annotations on public.devices using gin (annotations);
        create index devices_status on public.devices using gin (status);
    end if;

    if made_timestamps then
        create table public.device_timestamps (
            org_id    uuid not null,
            name      text not null,
            last_seen timestamptz,
            primary key (org_id, name)
        );
        -- no index on last_seen: it changes at every poll, and without one that touches no index
    end if;

    if made_labels then
        create table public.device_labels (
            org_id      uuid not null,
            device_name text not null,
            label_key   text not null,
            label_value text,
            primary key (org_id, device_name, label_key)
        );
        create index device_labels_value on public.device_labels (org_id, label_key, label_value);
    end if;

    if made_requests then
        create table public.enrollment_requests (
            org_id           uuid not null,
            name             text not null,
            owner            text,
            labels           jsonb,
            annotations      jsonb,
            generation       bigint,
            resource_version bigint,
            created_at       timestamptz,
            updated_at       timestamptz,
            deleted_at       timestamptz,
            spec             jsonb,
            status           jsonb,
            primary key (org_id, name)
        );
    end if;

    if made_fleets then
        create table public.fleets (
            org_id           uuid not null,
            name             text not null,
            owner            text,
            labels           jsonb,
            annotations      jsonb,
            generation       bigint,
            resource_version bigint,
            created_at       timestamptz,
            updated_at       timestamptz,
            deleted_at       timestamptz,
            spec             jsonb,
            status           jsonb,
            primary key (org_id, name)
        );
    end if;

    if made_events then
        create table public.events (
            org_id               uuid not null,
            name                 text not null,
            owner                text,
            labels               jsonb,
            annotations          jsonb,
            generation           bigint,
            resource_version     bigint,
            created_at           timestamptz,
            updated_at           timestamptz,
            deleted_at           timestamptz,
            reason               text,
            source_component     text,
            actor                text,
            type                 text,
            message              text,
            details              jsonb,
            involved_object_name text,
            involved_object_kind text,
            primary key (org_id, name)
        );
        create index events_created_at on public.events (org_id, created_at);
        create index events_involved on public.events (org_id, involved_object_kind, involved_object_name);
    end if;

    if made_organizations and made_devices then
        alter table public.devices add foreign key (org_id) references public.organizations (id);
    end if;
    if made_organizations and made_requests then
        alter table public.enrollment_requests add foreign key (org_id) references public.organizations (id);
    end if;
    if made_organizations and made_fleets then
        alter table public.fleets add foreign key (org_id) references public.organizations (id);
    end if;
    if made_organizations and made_events then
        alter table public.events add foreign key (org_id) references public.organizations (id);
    end if;

    if made_devices and made_timestamps then
        alter table public.device_timestamps
            add foreign key (org_id, name) references public.devices (org_id, name) on delete cascade;
        create trigger device_inserted after insert on public.devices
            for each row execute function rollcall.device_inserted();
    end if;
    if made_devices and made_labels then
        alter table public.device_labels
            add foreign key (org_id, device_name) references public.devices (org_id, name) on delete cascade;
        create trigger device_labels_inserted after insert on public.devices
            for each row execute function rollcall.device_labels_changed();
        -- only for an update that changes labels, as a roll call changes all devices and labels of none
        create trigger device_labels_updated after update of labels on public.devices
            for each row when (old.labels is distinct from new.labels) execute function rollcall.device_labels_changed();
    end if;
    if made_timestamps and not made_devices then
        insert into public.device_timestamps (org_id, name) select org_id, name from public.devices;
    end if;
    if made_labels and not made_devices then
        insert into public.device_labels (org_id, device_name, label_key, label_value)
        select d.org_id, d.name, l.key, l.value
        from public.devices d, jsonb_each_text(case jsonb_typeof(d.labels) when 'object' then d.labels else '{}' end) l;
    end if;
end $$;
-- +goose StatementEnd
