-- +goose Up
-- The resource_version of a device beside Flight Control as the inventory watch has seen it and had nothing to say about it.
alter table rollcall.roll add column seen_version bigint;
