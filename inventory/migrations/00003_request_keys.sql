-- +goose Up
-- request_keys holds the public key that is known under the name of an enrollment request: the one that was posted first, or
-- that a human let in last (runbook.CompareKey). It outlives the request, so that another key does not become the known one
-- by being posted twice.
create table rollcall.request_keys (
    org_id     uuid not null,
    name       text not null,
    key        text not null, -- SHA-256 of the key's SubjectPublicKeyInfo, in hex
    brought_at timestamptz,   -- when the request was made that brought it as the first of its name; NULL where it was known before
    primary key (org_id, name)
);
