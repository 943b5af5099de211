package invariants

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory"
	"rollcall/runbook"
)

const selectOverlapping = `
select a.id as older, b.id as newer
from rollcall.restores a join rollcall.restores b on (a.started_at, a.id) < (b.started_at, b.id)
where a.state = 'Running' and b.state = 'Running' and (a.org_id is null or b.org_id is null or a.org_id = b.org_id)
order by b.id, a.id`

const selectTallies = `
select s.id, s.state, s.total, count(r.name) as rows,
    count(r.name) filter (where r.state in ('AwaitingReconnect', 'ConflictPaused') and not r.superseded) as waiting
from rollcall.restores s left join rollcall.roll r on r.restore_id = s.id
where s.rolled_at is not null
group by s.id, s.state, s.total
having s.total <> count(r.name) or s.state = 'Completed'
order by s.id`

// checkRestores checks that the restores exclude each other and that their counts add up.
func checkRestores(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var overlapping []struct{ Older, Newer string }
	if err := tx.SelectContext(ctx, &overlapping, selectOverlapping); err != nil {
		return nil, fmt.Errorf("read the restores that run: %w", err)
	}
	var found []Violation
	for _, o := range overlapping {
		found = append(found, Violation{
			Invariant: OneCurrentRestore, RestoreID: o.Newer, WorkflowID: runbook.RestoreWorkflowID(o.Newer),
			Message: fmt.Sprintf("restores %s and %s of the same organisation both run", o.Older, o.Newer),
		})
	}
	var tallies []struct {
		ID                   string
		State                runbook.RestoreState
		Total, Rows, Waiting int64
	}
	if err := tx.SelectContext(ctx, &tallies, selectTallies); err != nil {
		return nil, fmt.Errorf("count the roll: %w", err)
	}
	for _, t := range tallies {
		v := Violation{Invariant: CountsAddUp, RestoreID: t.ID, WorkflowID: runbook.RestoreWorkflowID(t.ID)}
		if t.Total != t.Rows {
			v.Message = fmt.Sprintf("the restore put %d devices on its roll, and the roll holds %d", t.Total, t.Rows)
			found = append(found, v)
		}
		if t.State == runbook.RestoreCompleted && t.Waiting > 0 {
			v.Message = fmt.Sprintf("the restore is complete, and %d devices on its roll wait", t.Waiting)
			found = append(found, v)
		}
	}
	return found, nil
}

const selectStrayed = `
select r.restore_id, r.org_id, r.name, r.state, coalesce(last.to_state, '') as last_state, coalesce(last.id, 0) as entry
from rollcall.roll r left join lateral (
    select t.id, t.to_state from rollcall.transitions t
    where t.restore_id = r.restore_id and t.org_id = r.org_id and t.name = r.name
      and t.transition not in ('Refused', 'Approved', 'Denied', 'Deleted')
      and not (t.transition = 'Decided' and t.signal = 'approve')
    order by t.id desc limit 1) last on true
where r.state is distinct from last.to_state
order by r.restore_id, r.org_id, r.name`

// checkRoll checks that each row of a roll stands where its last transition has put it.
func checkRoll(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct {
		deviceRow
		State runbook.State `db:"state"`
		Last  string        `db:"last_state"`
		Entry int64         `db:"entry"`
	}
	if err := tx.SelectContext(ctx, &rows, selectStrayed); err != nil {
		return nil, fmt.Errorf("compare the roll with the audit: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		last := "nothing at all"
		if r.Last != "" {
			last = r.Last
		}
		v := r.violation(RollFollowsAudit, "the roll says %s, and the audit says %s", r.State, last)
		v.Entry = r.Entry
		found = append(found, v)
	}
	return found, nil
}

// missingAtOnce is how many devices checkMissing names for one restore.
const missingAtOnce = 100

// checkMissing checks that no device was forgotten when the roll of a running restore was made: what has no place on it
// is rendered by the backup's version.
func checkMissing(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var restores []string
	err := tx.SelectContext(ctx, &restores, `select id from rollcall.restores where state = 'Running' order by id`)
	if err != nil {
		return nil, fmt.Errorf("read the restores that run: %w", err)
	}
	var found []Violation
	for _, id := range restores {
		missing, err := inventory.Missing(ctx, tx, id, missingAtOnce)
		if err != nil {
			return nil, err
		}
		for _, d := range missing {
			v := deviceRow{id, d.OrgID, d.Name}.violation(AllOnRoll, "the device was there when the restore began, and is not "+
				"on its roll; start another restore with --supersede, which puts all devices on its roll")
			v.WorkflowID = ""
			found = append(found, v)
		}
	}
	return found, nil
}

const selectLeftOut = `
select r.restore_id, r.org_id, r.name, r.seq, s.claim_from
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id and s.state = 'Running' and s.by_wave
where r.batch is null and r.seq < s.claim_from and r.state in ('AwaitingReconnect', 'ConflictPaused')
and not r.superseded
order by r.restore_id, r.org_id, r.name`

// checkWaves checks that the waves have not passed over a device that waits.
func checkWaves(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct {
		deviceRow
		Seq       int64 `db:"seq"`
		ClaimFrom int64 `db:"claim_from"`
	}
	if err := tx.SelectContext(ctx, &rows, selectLeftOut); err != nil {
		return nil, fmt.Errorf("read which devices no wave has claimed: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		found = append(found, r.violation(NoneLeftOut,
			"the device has number %d on the roll, no batch has claimed it, and the waves begin at %d", r.Seq, r.ClaimFrom))
	}
	return found, nil
}

// A device that was deleted is off every roll at its next word, and has nothing to be compared with. A device on its
// way to T2, T3 or T4 beside Flight Control is seen here until the roll has followed, so Check asks twice. One that
// was released and is paused and resumed only so that Flight Control renders it has a minute for that from its resume.
const selectDisagreeing = `
select r.restore_id, r.org_id, r.name, r.state, rollcall.device_state(d.annotations) as device_state,
r.restored_version,
    coalesce(d.annotations ->> '` + runbook.AnnotationRenderedVersion + `', '') as rendered
from rollcall.roll r
join rollcall.restores s on s.id = r.restore_id and s.state = 'Running'
join devices d on d.org_id = r.org_id and d.name = r.name and d.deleted_at is null
where not r.superseded and r.state <> 'Withdrawn'
  and r.decided_version is null -- Flight Control carries out a resume, and the roll has yet to follow
  and not (r.state = 'AwaitingReconnect' and s.mode = 'flightctl' and exists (
    select from rollcall.transitions x where x.restore_id = r.restore_id and x.org_id = r.org_id and x.name = r.name
      and x.transition = 'Repaired' and (x.at > now() - interval '90 seconds'
        or r.sent_at is not null and rollcall.device_state(d.annotations) = 'ConflictPaused')))
  and (rollcall.device_state(d.annotations) <> r.state
    or (r.state in ('AwaitingReconnect', 'ConflictPaused')
        and coalesce(d.annotations ->> '` + runbook.AnnotationRenderedVersion + `', '') <> r.restored_version))
order by r.restore_id, r.org_id, r.name`

// checkDevices compares the devices of running restores with their rows of the roll.
func checkDevices(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	var rows []struct {
		deviceRow
		State       runbook.State `db:"state"`
		DeviceState runbook.State `db:"device_state"`
		Restored    string        `db:"restored_version"`
		Rendered    string        `db:"rendered"`
	}
	if err := tx.SelectContext(ctx, &rows, selectDisagreeing); err != nil {
		return nil, fmt.Errorf("compare the devices with the roll: %w", err)
	}
	var found []Violation
	for _, r := range rows {
		if r.DeviceState != r.State {
			found = append(found, r.violation(DeviceFollowsRoll, "the roll says %s, and the device's annotations say %s",
				r.State, r.DeviceState))
		}
		if r.State.Open() && r.Rendered != r.Restored {
			found = append(found, r.violation(NothingRendered, "the device is %s, and its rendered version went from %q to %q",
				r.State, r.Restored, r.Rendered))
		}
	}
	return found, nil
}
