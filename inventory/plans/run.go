package plans

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Begin starts a plan: it checks that the plan may run, records who decides, how that is known and why, and divides the
// devices into waves. A plan that was begun already stays as it was divided, and runs again if it was held. A plan that
// has ended or expired, or whose restore is over, is a *runbook.Refusal.
func (p Plans) Begin(
	ctx context.Context, in runbook.PlanInput, identity runbook.Identity, policy runbook.ResumePolicy,
) (Plan, error) {
	rollout, err := in.Check()
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	err = p.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		if plan, err = get(ctx, tx, in.PlanID, ` for no key update of p`); err != nil {
			return err
		}
		switch {
		case plan.State == runbook.PlanRunning || plan.State == runbook.PlanHeld:
			plan.State = runbook.PlanRunning
			_, err = tx.ExecContext(ctx, `
				update rollcall.plans set state = $2, waves_asked = coalesce(waves_asked, 0)
				where id = $1`, plan.ID, plan.State)
			return err
		case plan.State != runbook.PlanPlanned:
			return runbook.Refuse(runbook.CodePlanEnded, "plan %s has ended (%s); make a new one", plan.ID, plan.State)
		case plan.Expired:
			return runbook.Refuse(runbook.CodePlanEnded, "plan %s expired at %s; look again and make a new one",
				plan.ID, plan.ExpiresAt.UTC().Format(time.RFC3339))
		case !plan.Current:
			return runbook.Refuse(runbook.CodeSuperseded, "restore %s of plan %s no longer runs; make a new plan",
				plan.RestoreID, plan.ID)
		}
		if in.Reason == "" {
			in.Reason = plan.Reason
		}
		if err := policy.CheckPlan(plan.Devices, plan.OnRoll, in.Reason); err != nil {
			return err
		}
		waves, err := divide(ctx, tx, plan, rollout)
		if err != nil {
			return err
		}
		plan.State, plan.DecidedBy, plan.Reason, plan.Waves = runbook.PlanRunning, in.By, in.Reason, waves
		plan.DecidedIdentity = identity
		_, err = tx.ExecContext(ctx, `
			update rollcall.plans set state = $2, decided_by = $3, reason = $4, waves = $5, decided_identity = $6,
			decided_at = now(), waves_asked = 0
			where id = $1`, plan.ID, plan.State, plan.DecidedBy, plan.Reason, plan.Waves, identity)
		return err
	})
	if err != nil {
		return Plan{}, fmt.Errorf("begin plan %s: %w", in.PlanID, err)
	}
	return plan, nil
}

// divide gives each device of the plan its wave, and returns how many waves there are.
func divide(ctx context.Context, tx *sqlx.Tx, plan Plan, rollout runbook.Rollout) (int, error) {
	var sites []string
	err := tx.SelectContext(ctx, &sites, `
		select case when $2 = '' then '' else coalesce(d.labels ->> $2, '') end
		from rollcall.plan_devices p left join devices d on d.org_id = p.org_id and d.name = p.name
		where p.plan_id = $1 order by p.seq`, plan.ID, rollout.PerSite.Label)
	if err != nil {
		return 0, fmt.Errorf("read the devices' sites: %w", err)
	}
	assigned := runbook.AssignWaves(sites, rollout.Waves, rollout.PerSite)
	waves, last := make(pq.Int64Array, len(assigned)), 0
	for i, wave := range assigned {
		waves[i], last = int64(wave), max(last, wave)
	}
	_, err = tx.ExecContext(ctx, `
		update rollcall.plan_devices p set wave = w.wave
		from unnest(cast($2 as bigint[])) with ordinality as w (wave, seq) where p.plan_id = $1 and p.seq = w.seq - 1`,
		plan.ID, waves)
	if err != nil {
		return 0, fmt.Errorf("divide the devices into waves: %w", err)
	}
	return last + 1, nil
}

// BeginWave notes that the devices of a wave, counted from 0, are asked from now on. A plan that was held runs again,
// and one that has ended stays so. A plan that an earlier release has begun notes no waves.
func (p Plans) BeginWave(ctx context.Context, id string, wave int) error {
	_, err := p.DB.ExecContext(ctx, `
		update rollcall.plans set state = $3,
			waves_asked = case when waves_asked is not null then greatest(waves_asked, $2 + 1) end
		where id = $1 and state in ($3, $4)`, id, wave, runbook.PlanRunning, runbook.PlanHeld)
	if err != nil {
		return fmt.Errorf("begin wave %d of plan %s: %w", wave, id, err)
	}
	return nil
}

// SinceAnswer reads how long ago the last device of a wave has answered; 0 where none has.
func (p Plans) SinceAnswer(ctx context.Context, id string, wave int) (time.Duration, error) {
	var seconds float64
	err := p.DB.GetContext(ctx, &seconds, `
		select coalesce(extract(epoch from now() - max(answered_at)), 0) from rollcall.plan_devices
		where plan_id = $1 and wave = $2`, id, wave)
	if err != nil {
		return 0, fmt.Errorf("read when wave %d of plan %s has answered: %w", wave, id, err)
	}
	return time.Duration(max(seconds, 0) * float64(time.Second)), nil
}

// ToAsk reads which devices of a wave to ask: those that were not asked yet, or gave no answer. Where the plan's
// restore was superseded or cancelled the error is a *runbook.Refusal with CodeSuperseded. The devices of a completed
// restore may be asked: who has answered gives the same answer again, and nothing waits for the others.
func (p Plans) ToAsk(ctx context.Context, id string, wave int) ([]Device, error) {
	plan, err := p.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !plan.Current && !plan.RestoreCompleted {
		return nil, runbook.Refuse(runbook.CodeSuperseded, "restore %s no longer runs; whoever was not asked stays paused",
			plan.RestoreID)
	}
	var found []Device
	err = p.DB.SelectContext(ctx, &found, `
		select name, wave, reported_version from rollcall.plan_devices
		where plan_id = $1 and wave = $2 and answer in ('', 'Unknown') order by seq`, id, wave)
	if err != nil {
		return nil, fmt.Errorf("read who to ask in wave %d of plan %s: %w", wave, id, err)
	}
	return found, nil
}

// storeAnswer stores a resume that the database does not know as refused.
const storeAnswer = `
with lost as (
	select d.plan_id, d.name from rollcall.plan_devices d join rollcall.plans p on p.id = d.plan_id
	where d.plan_id = $1 and d.name = $2 and $3 = 'Resumed' and not exists (select from rollcall.transitions t
		where t.restore_id = p.restore_id and t.org_id = d.org_id and t.name = d.name and t.transition in ($7, $8))
)
update rollcall.plan_devices d set answered_at = now(),
	answer = case when l.name is null then $3 else 'Refused' end,
	next_version = case when l.name is null then $4 else '' end,
	code = case when l.name is null then $5 else $9 end,
	message = case when l.name is null then $6 else $10 end
from rollcall.plan_devices a left join lost l on l.plan_id = a.plan_id and l.name = a.name
where a.plan_id = $1 and a.name = $2 and d.plan_id = a.plan_id and d.name = a.name and d.answer in ('', 'Unknown')`

// Answer stores what a device has answered. An answer that is known stays. A resume that the database has lost, because
// it was put back to an earlier moment after the device's workflow had answered, is refused with CodeLost.
func (p Plans) Answer(ctx context.Context, id string, d Device) error {
	lost := runbook.LostResume()
	_, err := p.DB.ExecContext(ctx, storeAnswer, id, d.Name, d.Answer, d.Next, d.Code, d.Message, runbook.T4,
		runbook.Decided, lost.Code, lost.Message)
	if err != nil {
		return fmt.Errorf("store the answer of device %s in plan %s: %w", d.Name, id, err)
	}
	return nil
}

// became says what has become of a resumed device. It has applied the decision when it has itself reported the version
// that was rendered for it (and runs the image digest that its spec names, where it names one) and says that it is
// well. A device that was not seen for $2 seconds since its answer is away.
const became = `
case when p.answer <> 'Resumed' then ''
    when d.name is null or d.deleted_at is not null then 'Away'
    when d.status -> 'summary' ->> 'status' in ('Error', 'Degraded') then 'Failed'
    when d.status -> 'config' ->> 'renderedVersion' ~ '^[0-9]{1,19}$' and p.next_version ~ '^[0-9]{1,19}$'
        and cast(d.status -> 'config' ->> 'renderedVersion' as numeric) >= cast(p.next_version as numeric)
        and coalesce(d.status -> 'summary' ->> 'status', '') not in ('Rebooting', 'Unknown', 'PoweredOff')
        and (d.spec -> 'os' ->> 'image' is null or position('@' in d.spec -> 'os' ->> 'image') = 0
            or split_part(d.spec -> 'os' ->> 'image', '@', 2) = d.status -> 'os' ->> 'imageDigest') then 'Applied'
    when p.answered_at < now() - make_interval(secs => $2)
        and coalesce(t.last_seen, '-infinity') < now() - make_interval(secs => $2) then 'Away'
    else 'Pending' end`

const fromDevices = `
from rollcall.plan_devices p
left join devices d on d.org_id = p.org_id and d.name = p.name
left join device_timestamps t on t.org_id = p.org_id and t.name = p.name
where p.plan_id = $1`

// Devices reads the devices of a plan with what has become of each, in the plan's order.
func (p Plans) Devices(ctx context.Context, id string, awayAfter time.Duration) ([]Device, error) {
	found := []Device{}
	err := p.DB.SelectContext(ctx, &found, `select p.name, p.wave, p.reported_version, p.answer, p.next_version, p.code,
		p.message,
		`+became+` as became`+fromDevices+` order by p.seq`, id, awayAfter.Seconds())
	if err != nil {
		return nil, fmt.Errorf("read the devices of plan %s: %w", id, err)
	}
	return found, nil
}

// Tally counts the devices of a plan in one statement.
func (p Plans) Tally(ctx context.Context, id string, awayAfter time.Duration) (runbook.PlanTally, error) {
	var rows []struct {
		Answer, Became string
		N              int64
	}
	err := p.DB.SelectContext(ctx, &rows, `
		select answer, became, count(*) as n from (select p.answer, `+became+` as became`+fromDevices+`) x group by answer,
			became`,
		id, awayAfter.Seconds())
	if err != nil {
		return runbook.PlanTally{}, fmt.Errorf("count the devices of plan %s: %w", id, err)
	}
	var t runbook.PlanTally
	for _, r := range rows {
		t.Total += r.N
		*counter(&t, r.Answer, r.Became) += r.N
	}
	return t, nil
}

func counter(t *runbook.PlanTally, answer, became string) *int64 {
	switch {
	case answer == "":
		return &t.NotAsked
	case answer == AnswerUnknown:
		return &t.Unknown
	case answer == AnswerRefused:
		return &t.Refused
	case became == "Applied":
		return &t.Applied
	case became == "Failed":
		return &t.Failed
	case became == "Away":
		return &t.Away
	}
	return &t.Pending
}

// Move writes where a plan stands. A plan that has ended stays so. As it ends, a device that was resumed for it and has
// not said so gets its answer from the audit. No device is resumed for it after that.
func (p Plans) Move(ctx context.Context, id string, to runbook.PlanState, by, reason string) error {
	return p.inTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			update rollcall.plans set state = $2, ended_by = case when $5 then $3 else ended_by end,
				ended_reason = case when $5 then $4 else ended_reason end, ended_at = case when $5 then now() end
			where id = $1 and state in ('Planned', 'Running', 'Held')`, id, to, by, reason, to.Ended())
		if err != nil {
			return fmt.Errorf("write where plan %s stands: %w", id, err)
		}
		if !to.Ended() {
			return nil
		}
		_, err = fromAudit(ctx, tx, id, "")
		return err
	})
}

// AnswerFromAudit stores as resumed a device that was resumed for a plan and has not said so, and reports whether it
// was. Its workflow may have ended with the resume before its answer was heard, or may know another's resume.
func (p Plans) AnswerFromAudit(ctx context.Context, id, name string) (resumed bool, err error) {
	n, err := fromAudit(ctx, p.DB, id, name)
	return n > 0, err
}

// fromAudit stores the answers that the audit knows, of one device or of all of a plan where name is empty, and returns
// how many these were.
func fromAudit(ctx context.Context, db sqlx.ExecerContext, id, name string) (int64, error) {
	done, err := db.ExecContext(ctx, answerFromAudit, id, inventory.PlanDecision(id), runbook.T4, runbook.Decided, name)
	if err != nil {
		return 0, fmt.Errorf("read the answers of plan %s from the audit: %w", id, err)
	}
	return done.RowsAffected()
}

// answerFromAudit stores the answer of each device that was resumed for a plan and has not said so, or of one of them.
// What was resumed for the plan cannot have been refused as well. A resume holds the plan's row until it is in the
// audit, so the statement after the one that ends the plan sees every resume.
const answerFromAudit = `
update rollcall.plan_devices d set
	answer = 'Resumed', next_version = done.next_version, code = '', message = '', answered_at = done.at
from (
	select distinct on (t.name) t.name, t.next_version, t.at
	from rollcall.plan_devices a join rollcall.plans p on p.id = a.plan_id
	join rollcall.transitions t on t.restore_id = p.restore_id and t.org_id = a.org_id and t.name = a.name
	where a.plan_id = $1 and ($5 = '' or a.name = $5) and a.answer <> 'Resumed' and t.decision_id = $2
		and t.transition in ($3, $4)
	order by t.name, t.id
) done
where d.plan_id = $1 and d.name = done.name and d.answer <> 'Resumed'`

// Holds returns how the person is known who has started a running plan that holds the device as it was looked at. Where
// there is no such plan, or by is not that person, the error is a *runbook.Refusal with CodeNotInPlan; where the plan
// is held, or has not begun the device's wave, one with CodePlanWaits. It is how a decision that names a plan is
// checked.
func (p Plans) Holds(ctx context.Context, id, orgID string, d Planned, by string) (runbook.Identity, error) {
	var found struct {
		Identity runbook.Identity `db:"decided_identity"`
		Asks     bool             `db:"asks"`
	}
	err := p.DB.GetContext(ctx, &found, `
		select p.decided_identity, p.state = $6 and (p.waves_asked is null or d.wave < p.waves_asked) as asks
		from rollcall.plan_devices d join rollcall.plans p on p.id = d.plan_id
		where d.plan_id = $1 and d.org_id = $2 and d.name = $3 and d.reported_version = $4 and p.state in ($6, $7)
			and p.decided_by = $5`,
		id, orgID, d.Name, runbook.OrZero(d.Reported), by, runbook.PlanRunning, runbook.PlanHeld)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", runbook.Refuse(runbook.CodeNotInPlan,
			"plan %s does not run, is not %s's, or does not hold device %s with version %s; nothing was changed",
			id, by, d.Name, runbook.OrZero(d.Reported))
	case err != nil:
		return "", fmt.Errorf("look for device %s in plan %s: %w", d.Name, id, err)
	case !found.Asks:
		return "", runbook.PlanWaits(id, d.Name)
	}
	return found.Identity, nil
}
