-- +goose Up
-- What is known of a human's resume that Flight Control carries out. resumed_by, resumed_reason and resumed_at say whose it is
-- while the device is still ConflictPaused; all are NULL again where the decision does not count any more.
alter table rollcall.roll
    add column decided_version text,    -- the reported version that the human decided about
    add column rendered_before text,    -- the version that the device was rendered as last when the human decided
    add column sent_at         timestamptz, -- when Flight Control was asked last
    add column sent_id         text;        -- the request id that it was asked with
