package inventory

import (
	"context"
	"fmt"

	"rollcall/runbook"
)

// PendingRequest is an enrollment request that nobody has decided about.
type PendingRequest struct {
	OrgID string `db:"org_id" json:"orgId"`
	Name  string `db:"name" json:"name"`
}

// requestState is where the enrollment request e stands: what makes it approved is a JSON true, and what makes it denied
// the condition that its agent is shown, or the word of whoever decided.
const requestState = `case
    when e.status @> '{"approval": {"approved": true}}' then 'Approved'
    when e.status @> '{"approval": {"approved": false}}' then 'Denied'
    when e.status @> '{"conditions": [{"type": "Denied", "status": "True"}]}' then 'Denied'
    else 'Pending' end`

const selectPending = `
select e.org_id, e.name
from enrollment_requests e
where (e.org_id, e.name) > (cast($1 as uuid), $2) and ($3 = '' or e.org_id = cast(nullif($3, '') as uuid))
  and e.deleted_at is null and ` + requestState + ` = 'Pending'
order by e.org_id, e.name limit $4`

// PendingRequests reads the next enrollment requests of a running restore's organisations that nobody has decided about,
// and where to go on, as PutOnRoll does. A restore that no longer runs is a *Refusal.
func (s *Store) PendingRequests(ctx context.Context, in RollInput) ([]PendingRequest, RollResult, error) {
	var restore struct {
		State runbook.RestoreState `db:"state"`
		OrgID string               `db:"org_id"`
	}
	err := s.db.GetContext(ctx, &restore, `select state, coalesce(cast(org_id as text), '') as org_id from rollcall.restores where id = $1`, in.RestoreID)
	if err != nil {
		return nil, RollResult{}, fmt.Errorf("read restore %s: %w", in.RestoreID, err)
	}
	if restore.State != runbook.RestoreRunning {
		return nil, RollResult{}, runbook.Refuse(runbook.CodeSuperseded, "restore %s is %s", in.RestoreID, restore.State)
	}
	orgID, name := in.after()
	var pending []PendingRequest
	if err := s.db.SelectContext(ctx, &pending, selectPending, orgID, name, restore.OrgID, in.limit()); err != nil {
		return nil, RollResult{}, fmt.Errorf("read pending enrollment requests: %w", err)
	}
	result := RollResult{Put: len(pending), Done: len(pending) < in.limit()}
	if n := len(pending); n > 0 {
		result.LastOrg, result.LastName = pending[n-1].OrgID, pending[n-1].Name
	}
	return pending, result, nil
}
