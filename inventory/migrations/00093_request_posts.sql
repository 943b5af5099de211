-- +goose Up
-- The enrollment requests that agents have posted to a gateway. A row outlives its request for a minute or so.
create table rollcall.request_posts (
    org_id      uuid not null,
    name        text not null,
    posted_at   timestamptz not null default now(), -- when it was posted last
    expires     boolean not null, -- false where a request of that name was there before: it may be one of the backup
    told_since  timestamptz,      -- when the present minute of events about its changes began
    told        int not null default 0, -- how many events were written in it
    held_back   bigint not null default 0, -- how many changes were not written since the last event
    primary key (org_id, name)
);
create index request_posts_posted on rollcall.request_posts (org_id, posted_at) where expires;
