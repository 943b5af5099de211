-- +goose Up
-- noted_version is the version that a device's agent reported to the gateway before the workflow of the device had started.
-- Only the gateway writes it. It counts while the device is AwaitingReconnect; NULL is no report.
alter table rollcall.roll add column noted_version text;
