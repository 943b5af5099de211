package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// A tally is read in one statement, so that its counts are of one moment and add up.
const selectTally = `
select s.id, s.state, s.started_at, s.finished_at, case when s.rolled_at is not null then s.total end as total, coalesce((
    select jsonb_object_agg(c.state, c.n)
    from (select r.state, count(*) as n from rollcall.roll r where r.restore_id = s.id group by r.state) c), '{}') as counts
from rollcall.restores s `

type tallyRow struct {
	ID         string               `db:"id"`
	State      runbook.RestoreState `db:"state"`
	StartedAt  time.Time            `db:"started_at"`
	FinishedAt *time.Time           `db:"finished_at"`
	// Total is what FinishRoll fixed; nil while devices are still being put on the roll.
	Total  *int64 `db:"total"`
	Counts []byte `db:"counts"`
}

func (r tallyRow) status() (runbook.RestoreStatus, error) {
	s := runbook.RestoreStatus{RestoreID: r.ID, State: r.State, StartedAt: r.StartedAt.UTC(), Counts: runbook.NewCounts()}
	if r.FinishedAt != nil {
		finished := r.FinishedAt.UTC()
		s.FinishedAt = &finished
	}
	if err := json.Unmarshal(r.Counts, &s.Counts); err != nil {
		return runbook.RestoreStatus{}, fmt.Errorf("read the counts of restore %s: %w", r.ID, err)
	}
	if r.Total != nil {
		s.Total = *r.Total // fixed apart from the rows that are counted, so that a row that was lost shows
		return s, nil
	}
	for _, n := range s.Counts {
		s.Total += n
	}
	return s, nil
}

// RestoreStatus reads the tally of a restore. An empty id is the newest restore that runs, or else the newest of all. Where
// there is none the error is a *Refusal with CodeNotFound.
func (s *Store) RestoreStatus(ctx context.Context, id string) (runbook.RestoreStatus, error) {
	return restoreStatus(ctx, s.db, id)
}

func restoreStatus(ctx context.Context, db sqlx.QueryerContext, id string) (runbook.RestoreStatus, error) {
	found, err := tallies(ctx, db, `where $1 = '' or s.id = $1 order by s.state = 'Running' desc, s.started_at desc, s.id desc limit 1`, id)
	if err != nil {
		return runbook.RestoreStatus{}, err
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case id == "":
		return runbook.RestoreStatus{}, runbook.Refuse(runbook.CodeNotFound, "there is no restore yet; start one with `starter restore`")
	default:
		return runbook.RestoreStatus{}, runbook.Refuse(runbook.CodeNotFound, "there is no restore %s", id)
	}
}

// Restores reads the tallies of the newest restores, the newest first; limit is how many at most, 0 or less is all.
func (s *Store) Restores(ctx context.Context, limit int) ([]runbook.RestoreStatus, error) {
	return tallies(ctx, s.db, `order by s.started_at desc, s.id desc limit nullif(greatest($1, 0), 0)`, limit)
}

func tallies(ctx context.Context, db sqlx.QueryerContext, which string, arg any) ([]runbook.RestoreStatus, error) {
	var rows []tallyRow
	if err := sqlx.SelectContext(ctx, db, &rows, selectTally+which, arg); err != nil {
		return nil, fmt.Errorf("read the tally of restores: %w", err)
	}
	statuses := make([]runbook.RestoreStatus, 0, len(rows))
	for _, r := range rows {
		status, err := r.status()
		if err != nil {
			return nil, err
		}
		statuses = append(statuses, status)
	}
	return statuses, nil
}
