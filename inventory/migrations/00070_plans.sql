-- +goose Up
-- plans are humans' decisions about many paused devices: a set that was frozen when it was looked at, and what became of it.
create table rollcall.plans (
    id           text primary key,
    org_id       uuid not null,
    restore_id   text not null,
    state        text not null default 'Planned' check (state in ('Planned', 'Running', 'Held', 'Completed', 'Aborted', 'Superseded')),
    planned_by   text not null,
    planned_at   timestamptz not null default now(),
    expires_at   timestamptz not null,
    decided_by   text not null default '',
    reason       text not null default '',
    decided_at   timestamptz,
    ended_by     text not null default '',
    ended_reason text not null default '',
    ended_at     timestamptz,
    waves        int not null default 0
);
create index plans_restore on rollcall.plans (restore_id, planned_at desc);

create table rollcall.plan_devices (
    plan_id          text not null references rollcall.plans (id) on delete cascade,
    org_id           uuid not null,
    name             text not null,
    seq              bigint not null,
    reported_version text not null, -- what the human saw; a device that has reported another since is refused
    wave             int not null default 0,
    answer           text not null default '' check (answer in ('', 'Resumed', 'Refused', 'Unknown')),
    next_version     text not null default '',
    code             text not null default '',
    message          text not null default '',
    answered_at      timestamptz,
    primary key (plan_id, name)
);
