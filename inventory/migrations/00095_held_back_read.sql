-- +goose Up
-- What devices have reported and a token bucket has held back. status and the metrics of the worker add it up.
create index roll_held_back on rollcall.roll (restore_id) where held_back > 0;
