-- +goose Up
-- Client certificates that a person has revoked, by their serial number or by the key that they are of. The newest row about one
-- counts: revoked is false where the revocation was taken back.
create table rollcall.revocations (
    id         bigserial primary key,
    org_id     uuid not null,
    kind       text not null check (kind in ('serial', 'key')),
    value      text not null, -- the serial number in hex, or the SHA-256 of the key's SubjectPublicKeyInfo in hex
    revoked    boolean not null,
    actor      text not null, -- who said so, as asserted
    login      text not null default session_user, -- who was connected to the database
    reason     text not null default '',
    revoked_at timestamptz not null default now()
);
create index revocations_value on rollcall.revocations (org_id, kind, value, id desc);

create trigger revocations_append_only before update or delete or truncate on rollcall.revocations
    for each statement execute function rollcall.refuse_change();
