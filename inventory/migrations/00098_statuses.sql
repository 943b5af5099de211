-- +goose Up
-- A status names the version that a device runs, and a poll the newest one that it has received. status_version is what the status of
-- a device said that awaits its reconnect, and status_at when. It counts where no poll has reported for a while.
alter table rollcall.roll
    add column status_version text,
    add column status_at      timestamptz;
