package invariants

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// An entry without a device is about a restore or a plan. A refused message has changed nothing.
const selectForeign = `
select t.id, t.restore_id, t.org_id, t.name, t.transition, case
    when s.org_id <> t.org_id then 'the restore is of another organisation'
    when t.decision_id like 'plan/%' then 'the plan that resumed it does not hold it'
    else 'the decision that moved it does not name it' end as why
from rollcall.transitions t left join rollcall.restores s on s.id = t.restore_id
where t.name <> '' and t.transition <> 'Refused' and (s.org_id <> t.org_id
    or t.decision_id like 'plan/%' and not exists (select
        from rollcall.plans p join rollcall.plan_devices h on h.plan_id = p.id
        where 'plan/' || p.id = t.decision_id and p.restore_id = t.restore_id
          and h.org_id = t.org_id and h.name = t.name)
    or t.decision_id not like 'plan/%' and exists (select from rollcall.decisions d where d.id = t.decision_id
        and (d.org_id <> t.org_id or not exists (select from rollcall.decision_targets g
            where g.decision_id = d.id and g.name = t.name))))
order by t.id`

// checkForeign checks that each device was moved by messages of its own.
func checkForeign(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct {
		deviceRow
		ID         int64  `db:"id"`
		Transition string `db:"transition"`
		Why        string `db:"why"`
	}
	if err := tx.SelectContext(ctx, &rows, selectForeign); err != nil {
		return nil, fmt.Errorf("read whose messages moved the devices: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		v := r.violation(OwnMessages, "%s happened to the device, and %s", r.Transition, r.Why)
		v.Entry = r.ID
		found = append(found, v)
	}
	return found, nil
}

// The answer of a device in a plan is stored after its decision, so that the decision is there.
const selectUnanswered = `
select p.restore_id, h.org_id, h.name, p.id
from rollcall.plans p join rollcall.plan_devices h on h.plan_id = p.id
where h.answer = 'Resumed' and not exists (select from rollcall.transitions t
    where t.restore_id = p.restore_id and t.org_id = h.org_id and t.name = h.name and t.transition in ('T4', 'Decided'))
order by p.id, h.name`

// checkAnswers checks that each resume which a plan has counted was decided.
func checkAnswers(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct {
		deviceRow
		Plan string `db:"id"`
	}
	if err := tx.SelectContext(ctx, &rows, selectUnanswered); err != nil {
		return nil, fmt.Errorf("compare the answers of plans with the audit: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		found = append(found, r.violation(TakesEffect, "plan %s counts the device as resumed, and the audit has no decision",
			r.Plan))
	}
	return found, nil
}

// A report that a gateway has noted on the roll was acknowledged. One that cannot be read keeps its device waiting. One
// of a device that no batch has claimed waits for its turn.
const selectNotActedOn = `
select r.restore_id, r.org_id, r.name, r.seq, r.batch, r.noted_version
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
    and s.state = 'Running' and s.mode = 'standalone' and s.by_wave
where r.state = 'AwaitingReconnect' and not r.superseded and r.batch is not null
  and r.noted_version ~ '^(0|[1-9][0-9]{0,17})$'
order by r.restore_id, r.seq`

// checkReports looks for reports that were acknowledged and that no workflow has acted on. A restore that is being
// cancelled, or that was taken up and has not come to the device again, acts on none.
func (c Checker) checkReports(
	ctx context.Context, progress map[string]runbook.RestoreProgress,
) ([]Violation, error) {
	var rows []struct {
		deviceRow
		Seq   int64  `db:"seq"`
		Batch *int   `db:"batch"`
		Noted string `db:"noted_version"`
	}
	if err := c.DB.SelectContext(ctx, &rows, selectNotActedOn); err != nil {
		return nil, fmt.Errorf("read which reports are noted: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		if p := progress[r.RestoreID]; p.Stopping || p.Called != nil && !p.HasCalled(r.Seq, r.Batch) {
			continue
		}
		found = append(found, r.violation(TakesEffect, "the device has reported version %s, and still waits; look at its "+
			"workflow, and at the pending activity WatchInventory of its restore", r.Noted))
	}
	return found, nil
}
