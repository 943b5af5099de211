-- +goose Up
-- waves_asked is how many waves of a plan have been begun: no device of a later wave is resumed for it. NULL is a plan that an
-- earlier release has begun, which does not say so.
alter table rollcall.plans add column waves_asked int;
