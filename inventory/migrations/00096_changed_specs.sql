-- +goose Up
-- Flight Control renders no device that waits, and does not make up for it. restored_generation is the device's generation at T1,
-- so that a later change of its spec is found; NULL where that is not known. repairs counts how often the device was paused and
-- resumed again because Flight Control had not rendered it, for the decision that stands or since its release; NULL is never.
alter table rollcall.roll
    add column restored_generation bigint,
    add column repairs             int;
