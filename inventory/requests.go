package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// An approval that is not a JSON true is none. Requests that carry the annotation are left alone, so that a repetition
// changes nothing. One that was made since the restore began was not in the backup, though it waits while the roll is made.
const annotateRequests = `
with page as materialized (
    select e.org_id, e.name
    from enrollment_requests e
    where (e.org_id, e.name) > (cast($1 as uuid), $2) and ($3 = '' or e.org_id = cast(nullif($3, '') as uuid))
      and e.deleted_at is null and coalesce(not e.status @> '{"approval": {"approved": true}}', true)
      and coalesce(e.created_at < (select s.started_at from rollcall.restores s where s.id = $5), true)
    order by e.org_id, e.name limit $4
    for no key update of e
), annotated as (
    update enrollment_requests e set
        annotations = rollcall.object(e.annotations) || '{"device-controller/awaitingReconnect": "true"}',
        resource_version = coalesce(e.resource_version, 0) + 1,
        updated_at = now()
    from page p
    where e.org_id = p.org_id and e.name = p.name
      and coalesce(not e.annotations @> '{"device-controller/awaitingReconnect": "true"}', true)
)` + pageEnd

// AnnotateRequests marks the next unapproved enrollment requests, so that a device that is approved from one begins
// AwaitingReconnect: it was in the backup and may have been approved and deployed to since. It goes through them part
// by part as PutOnRoll goes through devices, and is repeatable in the same way; once FinishRoll was called there is nothing left
// to mark.
func (s *Store) AnnotateRequests(ctx context.Context, in RollInput) (RollResult, error) {
	var p page
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		r, err := lockRunning(ctx, tx, in.RestoreID)
		if err != nil {
			return err
		}
		if r.RolledAt != nil {
			return nil // what arrived since then was not in the backup
		}
		orgID, name := in.after()
		return tx.GetContext(ctx, &p, annotateRequests, orgID, name, r.OrgID, in.limit(), r.ID)
	})
	if err != nil {
		return RollResult{}, fmt.Errorf("annotate enrollment requests for restore %s: %w", in.RestoreID, err)
	}
	return p.result(in.limit()), nil
}
