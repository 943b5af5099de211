-- +goose Up
-- request_keys holds the public key that is known under the name of an enrollment request: the one that was posted first, or
-- that a human let in last (runbook.CompareKey). It outlives the request, so that another key does not become the known one
-- by being posted twice.
create table rollcall.request_keys (
    org_id   uuid not null,
    name     text not null,
    key      text not null, -- SHA-256 of the key's SubjectPublicKeyInfo, in hex
    noted_at timestamptz not null default now(), -- that of a request which is the first with its key is the request's own
    primary key (org_id, name)
);
