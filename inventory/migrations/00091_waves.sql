-- +goose Up
-- The devices of a restore are claimed in waves by its batches, those first that are there. batch and wave say who has claimed a
-- device, and in which of its waves; NULL is a device that is still to be claimed, and batch -1 one whose workflow its enrollment
-- starts. carried_version is the noted_version that the claim gave to the device's workflow.
--
-- An empty noted_version is a device without a report that is there all the same: Flight Control has moved it, or it is gone.
alter table rollcall.roll
    add column batch           int,
    add column wave            int,
    add column carried_version text,
    add constraint roll_claimed check ((batch is null) = (wave is null));
create index roll_batch on rollcall.roll (restore_id, batch, wave) where batch is not null;
create index roll_there on rollcall.roll (restore_id, seq) where noted_version is not null and batch is null;

-- by_wave is false for restores that earlier releases have begun: their batches have slices of the roll, and claim nothing. All
-- devices on the roll below claim_from have been claimed.
alter table rollcall.restores
    add column by_wave    boolean not null default false,
    add column claim_from bigint not null default 0;
