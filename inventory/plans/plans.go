// Package plans stores humans' decisions about many paused devices: which devices were looked at, how they are divided
// into waves, and what each has answered. A plan is frozen when it is made. Its workflow, ResumeWorkflow, carries it
// out.
package plans

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

// Plans are the plans in one database.
type Plans struct {
	DB *sqlx.DB
}

// Planned is a device as it was when the plan was made.
type Planned struct {
	Name string `json:"name"`
	// Reported is the version that the human saw.
	Reported string `json:"reportedVersion"`
}

// New is a plan to be made.
type New struct {
	ID        string
	OrgID     string
	RestoreID string
	By        string
	Reason    string
	// DecisionID is the recorded decision to make the plan; empty where By is asserted.
	DecisionID string
	// ExpiresIn is how long the plan may be started, from now on.
	ExpiresIn time.Duration
	Devices   []Planned
}

// Plan is a plan as it is stored.
type Plan struct {
	ID        string            `db:"id" json:"id"`
	OrgID     string            `db:"org_id" json:"orgId"`
	RestoreID string            `db:"restore_id" json:"restoreId"`
	State     runbook.PlanState `db:"state" json:"state"`
	PlannedBy string            `db:"planned_by" json:"plannedBy"`
	PlannedAt time.Time         `db:"planned_at" json:"plannedAt"`
	ExpiresAt time.Time         `db:"expires_at" json:"expiresAt"`
	// PlannedIdentity and DecidedIdentity are how it is known who made the plan, and who started it.
	PlannedIdentity runbook.Identity `db:"planned_identity" json:"plannedIdentity,omitempty"`
	DecidedBy       string           `db:"decided_by" json:"decidedBy,omitempty"`
	DecidedIdentity runbook.Identity `db:"decided_identity" json:"decidedIdentity,omitempty"`
	Reason          string           `db:"reason" json:"reason,omitempty"`
	EndedBy         string           `db:"ended_by" json:"endedBy,omitempty"`
	EndReason       string           `db:"ended_reason" json:"endedReason,omitempty"`
	Waves           int              `db:"waves" json:"waves"`
	// Devices is how many devices the plan holds.
	Devices int64 `db:"devices" json:"devices"`
	// Expired reports whether the plan was not started in time, on the database's clock.
	Expired bool `db:"expired" json:"expired,omitempty"`
	// Current reports whether the plan's restore still runs, and RestoreCompleted whether it has ended because every
	// device of its roll has.
	Current          bool `db:"current" json:"-"`
	RestoreCompleted bool `db:"restore_completed" json:"-"`
	// OnRoll is how many devices the plan's restore has on its roll.
	OnRoll int64 `db:"on_roll" json:"-"`
}

// Device is a device of a plan, with what it has answered and what has become of it.
type Device struct {
	Name     string `db:"name" json:"name"`
	Wave     int    `db:"wave" json:"wave"`
	Reported string `db:"reported_version" json:"reportedVersion"`
	// Answer is Resumed, Refused or Unknown; empty where the device was not asked.
	Answer  string       `db:"answer" json:"answer,omitempty"`
	Next    string       `db:"next_version" json:"nextVersion,omitempty"`
	Code    runbook.Code `db:"code" json:"code,omitempty"`
	Message string       `db:"message" json:"message,omitempty"`
	// Became is Pending, Applied, Failed or Away where the device was resumed.
	Became string `db:"became" json:"became,omitempty"`
}

// What a device answers.
const (
	AnswerResumed = "Resumed"
	AnswerRefused = "Refused"
	AnswerUnknown = "Unknown"
)

// Create stores a plan and its devices in one transaction. A plan of the same id is a *runbook.Refusal with
// CodeInvalidRequest, and so is a plan without a device.
func (p Plans) Create(ctx context.Context, in New) error {
	if len(in.Devices) == 0 {
		return runbook.Refuse(runbook.CodeInvalidRequest, "a plan without a device decides nothing")
	}
	names, reported := make([]string, len(in.Devices)), make([]string, len(in.Devices))
	for i, d := range in.Devices {
		names[i], reported[i] = d.Name, runbook.OrZero(d.Reported)
	}
	_, err := p.DB.ExecContext(ctx, `
		with plan as (
			insert into rollcall.plans (id, org_id, restore_id, planned_by, reason, expires_at, decision_id)
			values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $9) returning id, org_id)
		insert into rollcall.plan_devices (plan_id, org_id, name, seq, reported_version)
		select plan.id, plan.org_id, d.name, d.seq - 1, d.reported
		from plan, unnest(cast($7 as text[]), cast($8 as text[])) with ordinality as d (name, reported, seq)`,
		in.ID, in.OrgID, in.RestoreID, in.By, in.Reason, in.ExpiresIn.Seconds(), pq.Array(names), pq.Array(reported),
		in.DecisionID)
	var pqErr *pq.Error
	if errors.As(err, &pqErr) && pqErr.Constraint == "plans_pkey" {
		return runbook.Refuse(runbook.CodeInvalidRequest, "there is a plan %s already; take another id", in.ID)
	}
	if err != nil {
		return fmt.Errorf("store plan %s: %w", in.ID, err)
	}
	return nil
}

const selectPlan = `
select p.id, p.org_id, p.restore_id, p.state, p.planned_by, p.planned_at, p.decided_identity,
    coalesce((select c.identity from rollcall.decisions c join rollcall.decision_targets t on t.decision_id = c.id
        where c.id = p.decision_id and c.org_id = p.org_id and c.act = 'plan' and c.actor = p.planned_by
        and t.name = p.id), 'asserted') as planned_identity,
    p.expires_at, p.decided_by, p.reason, p.ended_by,
    p.ended_reason, p.waves, p.state = 'Planned' and p.expires_at < now() as expired,
    coalesce(s.state = 'Running', false) as current, coalesce(s.state = 'Completed', false) as restore_completed,
    coalesce(s.total, 0) as on_roll,
    (select count(*) from rollcall.plan_devices d where d.plan_id = p.id) as devices
from rollcall.plans p left join rollcall.restores s on s.id = p.restore_id `

// Get reads a plan. Where there is none the error is a *runbook.Refusal with CodeNotFound.
func (p Plans) Get(ctx context.Context, id string) (Plan, error) { return get(ctx, p.DB, id, "") }

func get(ctx context.Context, db sqlx.QueryerContext, id, locked string) (Plan, error) {
	var plan Plan
	err := sqlx.GetContext(ctx, db, &plan, selectPlan+`where p.id = $1`+locked, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Plan{}, runbook.Refuse(runbook.CodeNotFound, "there is no plan %s; make one with `starter plan resume`", id)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("read plan %s: %w", id, err)
	}
	return plan, nil
}

// List reads the newest plans of an organisation, the newest first; limit is how many at most, 0 or less is all.
func (p Plans) List(ctx context.Context, orgID string, limit int) ([]Plan, error) {
	found := []Plan{}
	err := p.DB.SelectContext(ctx, &found, selectPlan+`
		where p.org_id = $1 order by p.planned_at desc, p.id limit nullif(greatest($2, 0), 0)`, orgID, limit)
	if err != nil {
		return nil, fmt.Errorf("read the plans: %w", err)
	}
	return found, nil
}

// inTx runs do in one transaction.
func (p Plans) inTx(ctx context.Context, do func(tx *sqlx.Tx) error) error {
	tx, err := p.DB.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the first error is the one to tell
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
