package inventory

import (
	"context"
	"fmt"
	"math"

	"github.com/lib/pq"

	"rollcall/runbook"
)

// Moved is an entry of the audit: that something happened to a device.
type Moved struct {
	ID    int64  `db:"id"`
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
	// RestoreID is the restore whose roll call it belongs to.
	RestoreID string `db:"restore_id"`
	// Transition is what happened; T1 is the beginning of a roll call, all others are what came of something.
	Transition runbook.Transition `db:"transition"`
}

// IDs is a range of numbers of the audit's entries, both ends included.
type IDs struct {
	From, To int64
}

// After is every number past id.
func After(id int64) IDs { return IDs{From: id + 1, To: math.MaxInt64} }

// LastMove is the number of the newest entry of the audit, 0 where there is none. One with a lower number may still
// become visible after it.
func (s *Store) LastMove(ctx context.Context) (id int64, err error) {
	if err := s.db.GetContext(ctx, &id, `select coalesce(max(id), 0) from rollcall.transitions`); err != nil {
		return 0, fmt.Errorf("read the newest transition: %w", err)
	}
	return id, nil
}

// Moves reads the entries of the audit in these ranges, by number, in one statement.
func (s *Store) Moves(ctx context.Context, ranges []IDs) ([]Moved, error) {
	from, to := make(pq.Int64Array, len(ranges)), make(pq.Int64Array, len(ranges))
	for i, r := range ranges {
		from[i], to[i] = r.From, r.To
	}
	var moves []Moved
	err := s.db.SelectContext(ctx, &moves, `
select t.id, t.org_id, t.name, t.restore_id, t.transition
from unnest(cast($1 as bigint[]), cast($2 as bigint[])) as g (lo, hi) join rollcall.transitions t on t.id between g.lo and g.hi
order by t.id`, from, to)
	if err != nil {
		return nil, fmt.Errorf("read the newest transitions: %w", err)
	}
	return moves, nil
}
