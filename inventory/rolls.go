package inventory

import (
	"context"
	"fmt"
	"time"

	"rollcall/runbook"
)

// RunningRoll is what a running restore looks like to somebody who measures it.
type RunningRoll struct {
	RestoreID string
	Counts    map[runbook.State]int64
	// OldestPaused is how long the device that has been ConflictPaused longest has been so; zero where none is.
	OldestPaused time.Duration
	// TotalPaused is the same of all paused devices, added up.
	TotalPaused time.Duration
}

// RunningRolls reads all restores that run, in one statement.
func (s *Store) RunningRolls(ctx context.Context) ([]RunningRoll, error) {
	var rows []struct {
		ID     string        `db:"id"`
		State  runbook.State `db:"state"`
		Count  int64         `db:"n"`
		Oldest float64       `db:"oldest"`
		Sum    float64       `db:"sum"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT r.id, coalesce(l.state, '') AS state, count(l.state) AS n,
		       coalesce(max(extract(epoch FROM now() - l.since)), 0) AS oldest,
		       coalesce(sum(extract(epoch FROM now() - l.since)), 0) AS sum
		FROM rollcall.restores r LEFT JOIN rollcall.roll l ON l.restore_id = r.id
		WHERE r.state = $1 GROUP BY r.id, l.state ORDER BY r.id`, runbook.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("read the rolls of running restores: %w", err)
	}
	var rolls []RunningRoll
	for _, row := range rows {
		if len(rolls) == 0 || rolls[len(rolls)-1].RestoreID != row.ID {
			rolls = append(rolls, RunningRoll{RestoreID: row.ID, Counts: runbook.NewCounts()})
		}
		if row.State == "" {
			continue
		}
		roll := &rolls[len(rolls)-1]
		roll.Counts[row.State] = row.Count
		if row.State == runbook.StateConflictPaused {
			roll.OldestPaused = time.Duration(row.Oldest * float64(time.Second))
			roll.TotalPaused = time.Duration(row.Sum * float64(time.Second))
		}
	}
	return rolls, nil
}
