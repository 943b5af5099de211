-- +goose Up
-- A gateway tells the roll call a few reports of a device, and then one now and then. report_credit is how many more it may tell,
-- as it was at report_credit_at; NULL is all of them. held_back counts the reports that were not told.
alter table rollcall.roll
    add column report_credit    double precision,
    add column report_credit_at timestamptz,
    add column held_back        bigint not null default 0;
