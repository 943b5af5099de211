// Package decisions stores who decided what, as the Temporal server knows its caller. A decision is recorded before
// it is carried out, and is never changed.
package decisions

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

// Decisions are the decisions in one database.
type Decisions struct {
	DB *sqlx.DB
}

// Record stores a decision of the person in by with its targets. Recording it again changes nothing; another decision
// of the same id is a *runbook.Refusal with CodeInvalidRequest.
func (d Decisions) Record(
	ctx context.Context, in runbook.DecisionInput, by string, identity runbook.Identity,
) (runbook.DecisionRecord, error) {
	none := runbook.DecisionRecord{}
	names, versions := make([]string, len(in.Targets)), make([]string, len(in.Targets))
	for i, t := range in.Targets {
		names[i], versions[i] = t.Name, t.Version
	}
	_, err := d.DB.ExecContext(ctx, `
		with decision as (
			insert into rollcall.decisions (id, org_id, act, actor, identity, reason, details)
			values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing returning id)
		insert into rollcall.decision_targets (decision_id, name, version)
		select decision.id, t.name, t.version
		from decision, unnest(cast($8 as text[]), cast($9 as text[])) as t (name, version)
		on conflict do nothing`,
		in.ID, in.OrgID, in.Act, by, identity, in.Reason, in.Details, pq.Array(names), pq.Array(versions))
	if err != nil {
		return none, fmt.Errorf("record decision %s: %w", in.ID, err)
	}
	stored, _, err := d.get(ctx, in.ID, in.OrgID, "")
	if err != nil {
		return none, err
	}
	if stored == nil || stored.Act != in.Act || stored.By != by || stored.Reason != in.Reason ||
		stored.Details != in.Details {
		return none, runbook.Refuse(runbook.CodeInvalidRequest, "there is another decision of the id %q already", in.ID)
	}
	return runbook.DecisionRecord{ID: in.ID, By: stored.By, Identity: stored.Identity}, nil
}

// stored is a decision, and the entry of one of its targets.
type stored struct {
	Act      runbook.Act      `db:"act"`
	By       string           `db:"actor"`
	Identity runbook.Identity `db:"identity"`
	Reason   string           `db:"reason"`
	Details  string           `db:"details"`
	Age      float64          `db:"age"`
	Version  sql.NullString   `db:"version"`
}

// get reads a decision of an organisation; nil where there is none.
func (d Decisions) get(ctx context.Context, id, orgID, name string) (*stored, *runbook.DecisionTarget, error) {
	var s stored
	err := d.DB.GetContext(ctx, &s, `
		select d.act, d.actor, d.identity, d.reason, d.details, extract(epoch from now() - d.decided_at) as age, t.version
		from rollcall.decisions d left join rollcall.decision_targets t on t.decision_id = d.id and t.name = $3
		where d.id = $1 and d.org_id = $2`, id, orgID, name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read decision %s: %w", id, err)
	}
	if !s.Version.Valid {
		return &s, nil, nil
	}
	return &s, &runbook.DecisionTarget{Name: name, Version: s.Version.String}, nil
}

// Check returns how the person is known who made a decision. Where the decision was never recorded, or is not about
// what the message asks for, the error is a *runbook.Refusal with CodeNotDecided.
func (d Decisions) Check(ctx context.Context, id, orgID string, c runbook.Claim) (runbook.Identity, error) {
	s, target, err := d.get(ctx, id, orgID, c.Target.Name)
	if err != nil {
		return "", err
	}
	if s == nil {
		return "", runbook.NoDecision(id)
	}
	decision := runbook.DecisionInput{ID: id, Act: s.Act, By: s.By, Reason: s.Reason, Details: s.Details}
	if err := decision.Allows(c, target, time.Duration(s.Age*float64(time.Second))); err != nil {
		return "", err
	}
	return s.Identity, nil
}

// Whose returns how a person is known who made a decision of this kind about this target. It is empty where they did
// not.
func (d Decisions) Whose(
	ctx context.Context, id, orgID string, act runbook.Act, name, by string,
) (runbook.Identity, error) {
	s, target, err := d.get(ctx, id, orgID, name)
	if err != nil || s == nil || target == nil || s.Act != act || s.By != by {
		return "", err
	}
	return s.Identity, nil
}
