-- +goose Up
-- Who decided what, as the Temporal server knows its caller. A message that refers to a decision is checked against it.
create table rollcall.decisions (
    id         text primary key,
    org_id     uuid not null,
    act        text not null,
    actor      text not null,
    identity   text not null check (identity in ('authenticated', 'asserted')),
    reason     text not null default '',
    details    text not null default '',
    decided_at timestamptz not null default now()
);

create table rollcall.decision_targets (
    decision_id text not null references rollcall.decisions (id),
    name        text not null,
    version     text not null default '',
    primary key (decision_id, name)
);

-- +goose StatementBegin
create or replace function rollcall.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: % refused', tg_table_schema, tg_table_name, tg_op;
end $$;
-- +goose StatementEnd

create trigger decisions_append_only before update or delete or truncate on rollcall.decisions
    for each statement execute function rollcall.refuse_change();
create trigger decision_targets_append_only before update or delete or truncate on rollcall.decision_targets
    for each statement execute function rollcall.refuse_change();

-- How a person was known, through what they acted, and by which decision or plan. Entries from before have none of it.
alter table rollcall.transitions
    add column identity    text not null default '',
    add column via         text not null default '',
    add column decision_id text not null default '';

-- decision_id is the decision by which the plan was made; decided_identity is how who started it was known.
alter table rollcall.plans
    add column decision_id      text not null default '',
    add column decided_identity text not null default '';
