package invariants

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// A message that Flight Control has carried out is followed by a look; the act was the resume. The starts of restores
// and plans are read from their own histories.
const selectUndecided = `
select t.id, t.restore_id, t.org_id, t.name, t.actor, t.identity, t.signal, t.decision_id
from rollcall.transitions t
where t.identity = 'authenticated' and not case
    when t.decision_id = '' or t.signal = 'resume-plan' then t.signal in ('restore', 'supersede', 'resume-plan')
    when t.decision_id like 'plan/%' then exists (select from rollcall.plans p
        where 'plan/' || p.id = t.decision_id and p.decided_by = t.actor and p.decided_identity = t.identity)
    else exists (select from rollcall.decisions d join rollcall.decision_targets g on g.decision_id = d.id
        where d.id = t.decision_id and d.org_id = t.org_id and d.actor = t.actor and d.identity = t.identity
          and d.act = case t.signal when 'look' then 'resume' else t.signal end
          and (t.name = '' or g.name = t.name)) end
order by t.id`

// checkDecisions checks that a person counts as authenticated only where a decision of theirs was recorded.
func checkDecisions(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct {
		deviceRow
		ID         int64            `db:"id"`
		Actor      string           `db:"actor"`
		Identity   runbook.Identity `db:"identity"`
		Signal     string           `db:"signal"`
		DecisionID string           `db:"decision_id"`
	}
	if err := tx.SelectContext(ctx, &rows, selectUndecided); err != nil {
		return nil, fmt.Errorf("read the decisions: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		v := r.violation(AuthenticatedByDecision,
			"%s by %s counts as authenticated, and no decision of theirs (%q) is recorded that allows it",
			r.Signal, r.Actor, r.DecisionID)
		v.Entry = r.ID
		found = append(found, v)
	}
	return found, nil
}
