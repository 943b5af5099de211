-- +goose Up
-- mode says who answers the agents of a restore: our gateway (standalone), or a live Flight Control (flightctl). It is set when
-- the restore opens, and does not change.
alter table rollcall.restores add column mode text not null default 'standalone' check (mode in ('standalone', 'flightctl'));
-- prepared_at is when flightctl-restore prepared the devices, where it did. A device that was seen after that and neither waits
-- nor is paused is back already, and stays off the roll. NULL puts every eligible device on the roll.
alter table rollcall.restores add column prepared_at timestamptz;
