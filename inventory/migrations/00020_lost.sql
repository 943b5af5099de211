-- +goose Up
-- What the database had lost when it was put back to an earlier moment, and its workflows still knew. status counts it.
create index transitions_lost on rollcall.transitions (restore_id) where code = 'Lost';
