package invariants

import (
	"context"
	"fmt"

	"rollcall/runbook"
)

// checkPlans looks for plans that are being carried out, and that no workflow carries out.
func (c Checker) checkPlans(ctx context.Context) ([]Violation, error) {
	var plans []struct {
		ID        string            `db:"id"`
		OrgID     string            `db:"org_id"`
		RestoreID string            `db:"restore_id"`
		State     runbook.PlanState `db:"state"`
	}
	err := c.DB.SelectContext(ctx, &plans, `
select id, org_id, restore_id, state from rollcall.plans where state in ($1, $2) order by planned_at, id`,
		runbook.PlanRunning, runbook.PlanHeld)
	if err != nil {
		return nil, fmt.Errorf("read the plans that run: %w", err)
	}
	var found []Violation
	for _, p := range plans {
		id := runbook.ResumeWorkflowID(p.ID)
		runs, err := c.runs(ctx, id)
		if err != nil {
			return nil, err
		}
		if runs {
			continue
		}
		found = append(found, Violation{
			Invariant: WorkflowRuns, RestoreID: p.RestoreID, OrgID: p.OrgID, WorkflowID: id,
			Message: fmt.Sprintf("plan %s is %s, and no workflow carries it out; `starter resume --plan %s` goes on with it, "+
				"with the flags of the command that started it", p.ID, p.State, p.ID),
		})
	}
	return found, nil
}
