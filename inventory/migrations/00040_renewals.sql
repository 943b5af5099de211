-- +goose Up
-- The last request of a device to renew its certificate, and what was signed of it, so that any gateway answers the next read.
create table rollcall.renewals (
    org_id uuid not null,
    device text not null,
    name text not null,
    request bytea not null,
    spec jsonb not null,
    certificate bytea not null,
    created_at timestamptz not null default now(),
    primary key (org_id, device)
);

-- +goose Down
drop table rollcall.renewals;
