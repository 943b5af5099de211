// Package known reads what the database knows of what workflows have answered. One that was put back to an earlier
// moment may not know all of it.
package known

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// Device is a device of an organisation.
type Device struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
}

// Named is the beginning of the request id under which the audit names what a run of a workflow had answered; the id of
// the run follows.
const Named = "lost/"

// named reports in SQL whether the entry t of the audit names how a device had left. A device has the name of its
// enrollment request.
const named = `t.code = '` + string(runbook.CodeLost) + `' and t.request_id ~ '^` + Named + `[^/]+$' and t.name <> ''
    and t.signal not in ('` + runbook.SignalApprove + `', '` + runbook.SignalDeny + `')`

// Decided reports in SQL whether the entry t of the audit is a decision about an enrollment request.
const Decided = `t.transition in ('Approved', 'Denied', 'Deleted', 'T1')`

// left reports in SQL whether the entry t of the audit is that a device has left the roll call.
const left = `t.from_state in ('AwaitingReconnect', 'ConflictPaused') and t.to_state in ('Normal', 'Withdrawn')`

// Ends counts the devices that have left a restore's roll call, and what the audit names as lost. It is cheap. A device
// that has left twice counts once.
func Ends(ctx context.Context, db sqlx.QueryerContext, restoreID string) (n int64, err error) {
	err = sqlx.GetContext(ctx, db, &n, `
select (select count(*) from rollcall.roll where restore_id = $1 and state in ('Normal', 'Withdrawn'))
    + (select count(*) from rollcall.transitions t where t.restore_id = $1 and `+named+`)`, restoreID)
	if err != nil {
		return 0, fmt.Errorf("count who has left the roll call of restore %s: %w", restoreID, err)
	}
	return n, nil
}

// EndsOf returns how often each device has left a restore's roll call, with what the audit names as lost. It reads the
// whole audit.
func EndsOf(ctx context.Context, db sqlx.QueryerContext, restoreID string) (map[Device]int, error) {
	var rows []struct {
		Device
		N int `db:"n"`
	}
	err := sqlx.SelectContext(ctx, db, &rows, `
select t.org_id, t.name, count(*) as n from rollcall.transitions t
where t.restore_id = $1 and (`+left+` or `+named+`) group by t.org_id, t.name`, restoreID)
	if err != nil {
		return nil, fmt.Errorf("read who has left the roll call of restore %s: %w", restoreID, err)
	}
	ends := make(map[Device]int, len(rows))
	for _, row := range rows {
		ends[row.Device] = row.N
	}
	return ends, nil
}

// Stand is where a device stands, and whether the database knows how it has left the roll call.
type Stand struct {
	Known bool `db:"known"`
	// Now is its state on the roll; empty where it is not there.
	Now runbook.State `db:"now"`
}

// Of returns where a device stands that a workflow saw leave the roll call, with a state and at a time.
func Of(
	ctx context.Context, db sqlx.QueryerContext, restoreID string, device Device, state runbook.State, at time.Time,
) (stand Stand, err error) {
	err = sqlx.GetContext(ctx, db, &stand, `
select exists (select from rollcall.transitions t where t.restore_id = $1 and t.org_id = $2 and t.name = $3
        and t.to_state = $4 and t.at = $5 and t.transition <> 'Refused')
    or exists (select from rollcall.roll r where r.restore_id = $1 and r.org_id = $2 and r.name = $3
        and r.state = $4 and r.since = $5) as known,
    coalesce((select r.state from rollcall.roll r
        where r.restore_id = $1 and r.org_id = $2 and r.name = $3), '') as now`,
		restoreID, device.OrgID, device.Name, state, at)
	if err != nil {
		return Stand{}, fmt.Errorf("look whether device %s had left the roll call of restore %s: %w", device.Name, restoreID,
			err)
	}
	return stand, nil
}

// Decision is a decision about an enrollment request, with which a run of its workflow has ended.
type Decision struct {
	Device
	RunID string
	Taken runbook.EnrollmentDecision
}

// Since is when a restore began; zero where the database does not know the restore.
func Since(ctx context.Context, db sqlx.QueryerContext, restoreID string) (since time.Time, err error) {
	err = sqlx.GetContext(ctx, db, &since, `select started_at from rollcall.restores where id = $1`, restoreID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return since, fmt.Errorf("read when restore %s began: %w", restoreID, err)
	}
	return since, nil
}

// Without returns the decisions that the database does not know, and that are not named yet. One that was taken before
// the restore began is none of them, as the backup cannot know it, and neither is one of another organisation.
func Without(ctx context.Context, db sqlx.QueryerContext, restoreID string, taken []Decision) ([]Decision, error) {
	var orgs, names, ids []string
	var times []*time.Time
	for _, d := range taken {
		orgs, names = append(orgs, d.OrgID), append(names, d.Name)
		ids, times = append(ids, Named+d.RunID), append(times, d.Taken.At)
	}
	var unknown []int
	err := sqlx.SelectContext(ctx, db, &unknown, `
select d.n from unnest(cast($2 as uuid[]), cast($3 as text[]), cast($4 as text[]), cast($5 as timestamptz[]))
    with ordinality d(org_id, name, request_id, at, n)
join rollcall.restores s on s.id = $1 and s.started_at < d.at and coalesce(s.org_id, d.org_id) = d.org_id
where not exists (select from rollcall.transitions t where t.org_id = d.org_id and t.name = d.name
    and (t.at = d.at and `+Decided+`
        or t.restore_id = $1 and t.request_id = d.request_id))
order by d.n`, restoreID, pq.Array(orgs), pq.Array(names), pq.Array(ids), pq.Array(times))
	if err != nil {
		return nil, fmt.Errorf("look for decisions about enrollment requests: %w", err)
	}
	lost := make([]Decision, len(unknown))
	for i, n := range unknown {
		lost[i] = taken[n-1]
	}
	return lost, nil
}
