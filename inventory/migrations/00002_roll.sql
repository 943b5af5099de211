-- +goose Up
-- Rollcall's own tables. They have no foreign key to Flight Control's: one would add triggers to its tables, and the roll
-- must outlive a device that is deleted.

-- object reads a document that should be an object: anything else, NULL included, counts as an empty one, so that a row
-- that another hand has spoilt can still take part in a restore.
create function rollcall.object(doc jsonb) returns jsonb language sql immutable parallel safe as
    $$ select case jsonb_typeof(doc) when 'object' then doc else '{}'::jsonb end $$;

-- device_state is runbook.StateOf for SQL; a test holds the two together.
create function rollcall.device_state(annotations jsonb) returns text language sql immutable parallel safe as
    $$ select case
        when annotations @> '{"device-controller/awaitingReconnect": "true"}' then 'AwaitingReconnect'
        when annotations @> '{"device-controller/conflictPaused": "true"}' then 'ConflictPaused'
        else 'Normal' end $$;

create table rollcall.restores (
    id            text primary key,
    org_id        uuid, -- NULL is all organisations
    state         text not null check (state in ('Running', 'Completed', 'Superseded', 'Cancelled')),
    started_at    timestamptz not null default now(),
    finished_at   timestamptz,
    rolled_at     timestamptz, -- when the roll was complete (T1)
    total         bigint not null default 0,
    opened_by     text not null default '',
    closed_by     text not null default '',
    reason        text not null default '',
    superseded_by text
);
create index restores_started_at on rollcall.restores (started_at desc);

create table rollcall.roll (
    restore_id       text not null,
    org_id           uuid not null,
    name             text not null,
    seq              bigint not null,
    state            text not null check (state in ('AwaitingReconnect', 'ConflictPaused', 'Normal', 'Withdrawn')),
    fleet            text not null default '',
    restored_version text not null default '', -- the annotation as it was found, readable or not
    reported_version text,
    next_version     text,
    last_seen_before timestamptz, -- device_timestamps.last_seen as the restore found it
    since            timestamptz not null default now(),
    superseded       boolean not null default false, -- a newer restore has the device on its roll
    resumed_by       text,
    resumed_reason   text,
    resumed_at       timestamptz,
    primary key (org_id, name, restore_id) -- in this order it finds a device's older rows too
) with (fillfactor = 80);
-- No index holds the state: a transition then touches no index, and counting a restore's part of the roll is cheap anyway.
create unique index roll_seq on rollcall.roll (restore_id, seq);

create table rollcall.transitions (
    id               bigserial primary key,
    restore_id       text not null,
    org_id           uuid not null,
    name             text not null,
    at               timestamptz not null default now(),
    transition       text not null,
    from_state       text not null default '',
    to_state         text not null default '',
    restored_version text not null default '',
    reported_version text not null default '',
    next_version     text not null default '',
    signal           text not null default '', -- the message that asked for it; empty for T1
    actor            text not null default '',
    reason           text not null default '',
    code             text not null default '', -- why it was refused, for machines; empty where it was not
    message          text not null default '', -- the same for people
    request_id       text
);
create unique index transitions_request on rollcall.transitions (restore_id, org_id, name, request_id) where request_id is not null;
create index transitions_device on rollcall.transitions (org_id, name, id);

-- +goose StatementBegin
create function rollcall.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rollcall.transitions is append-only: % refused', tg_op;
end $$;
-- +goose StatementEnd

create trigger transitions_append_only before update or delete or truncate on rollcall.transitions
    for each statement execute function rollcall.refuse_change();
