// Package posts keeps what agents post to a gateway within bounds: how many enrollment requests wait for a person, for
// how long, and how many events their changes write.
package posts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// ErrFull says that as many posted requests are pending as may be.
var ErrFull = errors.New("too many enrollment requests are pending")

// postLock is the key of the advisory lock that lets one new request at a time be counted.
const postLock = 0x726f6c6c0005

// pending reports in SQL whether the request e waits for a decision.
const pending = `e.deleted_at is null and coalesce(e.status #> '{approval,approved}', 'null') = 'null'
    and not coalesce(e.status @> '{"conditions": [{"type": "Denied", "status": "True"}]}', false)`

// Admit counts one more new request of an organisation, if fewer than most are pending that agents have posted. The
// error is ErrFull where that is not so. It is called in the transaction that stores the request.
func Admit(ctx context.Context, tx *sqlx.Tx, orgID, name string, most int) error {
	if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, postLock); err != nil {
		return fmt.Errorf("wait for another new request: %w", err)
	}
	if most > 0 {
		var n int
		if err := tx.GetContext(ctx, &n, `
			select count(*) from rollcall.request_posts p
			join enrollment_requests e on e.org_id = p.org_id and e.name = p.name
			where p.org_id = $1 and p.name <> $2 and p.expires and `+pending, orgID, name); err != nil {
			return fmt.Errorf("count the pending requests: %w", err)
		}
		if n >= most {
			return ErrFull
		}
	}
	_, err := tx.ExecContext(ctx, `
		insert into rollcall.request_posts (org_id, name, expires) values ($1, $2, true)
		on conflict (org_id, name) do update set
			posted_at = now(), expires = true, told_since = null, told = 0, held_back = 0`,
		orgID, name)
	if err != nil {
		return fmt.Errorf("note that the request was posted: %w", err)
	}
	return nil
}

// eventsPerMinute is how many events the changes of one pending request write in a minute.
const eventsPerMinute = 5

// MayTell notes that a pending request was posted again, and reports whether an event may say what has changed.
// heldBack is how many changes were not told since the last event. changed is false where there is nothing to tell.
func MayTell(ctx context.Context, tx *sqlx.Tx, orgID, name string, changed bool) (may bool, heldBack int64, err error) {
	err = tx.QueryRowxContext(ctx, `
		with before as (
			select told_since > now() - interval '1 minute' as running, told, held_back
			from rollcall.request_posts where org_id = $1 and name = $2 for update
		), decided as (
			select coalesce((select running from before), false) as running,
				not $3 or coalesce((select running and told >= $4 from before), false) as held,
				coalesce((select held_back from before), 0) as held_back
		), stored as (
			insert into rollcall.request_posts as p (org_id, name, expires, told_since, told)
			values ($1, $2, false, case when $3 then now() end, case when $3 then 1 else 0 end)
			on conflict (org_id, name) do update set posted_at = now(),
				told_since = case when not $3 or (select running from decided) then p.told_since else now() end,
				told = case when not $3 or (select held from decided) then p.told
					when (select running from decided) then p.told + 1 else 1 end,
				held_back = case when not $3 then p.held_back when (select held from decided) then p.held_back + 1 else 0 end
		)
		select not held, held_back from decided`, orgID, name, changed, eventsPerMinute).Scan(&may, &heldBack)
	if err != nil {
		return false, 0, fmt.Errorf("note that the request was posted again: %w", err)
	}
	return may, heldBack, nil
}

// expire takes away what is due, and leaves a row without content. A request that a restore has found in the backup has
// its annotation, and stays. So does the key that was known before the request. The one that it brought is forgotten,
// as after a denial.
const expire = `
with due as materialized (
    select e.org_id, e.name, e.created_at
    from rollcall.request_posts p join enrollment_requests e on e.org_id = p.org_id and e.name = p.name
    where p.org_id = $1 and p.expires and p.posted_at < now() - $2 * interval '1 millisecond' and ` + pending + `
      and coalesce(rollcall.object(e.annotations) ->> $3, '') <> 'true'
    order by e.name limit $4 for no key update of e skip locked
), expired as (
    update enrollment_requests e set
        spec = '{}', deleted_at = now(), updated_at = now(), resource_version = coalesce(e.resource_version, 0) + 1
    from due where e.org_id = due.org_id and e.name = due.name
    returning e.org_id, e.name, due.created_at
), keys as (
    delete from rollcall.request_keys k using expired x
    where k.org_id = x.org_id and k.name = x.name and k.brought_at = x.created_at
), told as (
    insert into events (org_id, name, annotations, details, resource_version, created_at, updated_at, reason,
        source_component, actor, type, message, involved_object_kind, involved_object_name)
    select org_id, cast(gen_random_uuid() as text), '{}', 'null', 1, now(), now(), $5, 'rollcall', 'service:rollcall',
        'Normal', $6, 'EnrollmentRequest', name
    from expired
)
select name from expired order by name`

// expiredAtOnce is how many requests one statement takes away.
const expiredAtOnce = 500

// Expire takes away pending requests that agents have posted and not posted again for so long, and returns their names.
// A request that was in a backup stays.
func Expire(ctx context.Context, db *sqlx.DB, orgID string, after time.Duration) (names []string, err error) {
	err = db.SelectContext(ctx, &names, expire, orgID, after.Milliseconds(), runbook.AnnotationAwaitingReconnect,
		expiredAtOnce, runbook.ReasonResourceDeleted,
		"The enrollment request was not decided about and not posted again for "+after.String())
	if err != nil {
		return nil, fmt.Errorf("let old enrollment requests expire: %w", err)
	}
	return names, nil
}

// Forget drops what is kept of requests that are not pending any more.
func Forget(ctx context.Context, db *sqlx.DB, orgID string) error {
	_, err := db.ExecContext(ctx, `
		delete from rollcall.request_posts p
		where p.org_id = $1 and p.posted_at < now() - interval '1 minute' and not exists (
			select from enrollment_requests e where e.org_id = p.org_id and e.name = p.name and `+pending+`)`, orgID)
	if err != nil {
		return fmt.Errorf("forget posts that were decided about: %w", err)
	}
	return nil
}
