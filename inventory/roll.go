package inventory

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// MaxRollSize is how many rows one transaction of a roll changes at most, so that none holds its locks for long, on
// any size of fleet. More at a time cost as much each; this many leave a transaction that also sorts a GIN list in
// (bulk) below a second.
const MaxRollSize = 1250

// RollInput asks for the next part of a roll, and begins where the RollResult of the part before has ended.
type RollInput struct {
	RestoreID string `json:"restoreId"`
	// AfterOrg and AfterName are the LastOrg and LastName of the part before; both empty is the first part.
	AfterOrg  string `json:"afterOrg,omitempty"`
	AfterName string `json:"afterName,omitempty"`
	// FromPage, ToPage and Pages are those of the part before; all zero is the first part.
	FromPage int64 `json:"fromPage,omitempty"`
	ToPage   int64 `json:"toPage,omitempty"`
	Pages    int64 `json:"pages,omitempty"`
	// Limit is how many at most; 0 or less, and more than MaxRollSize, are MaxRollSize.
	Limit int `json:"limit,omitempty"`
}

// RollResult is what became of one part.
type RollResult struct {
	// Put is the number of devices that this part has put on the roll, or of the requests that it has looked at.
	Put int `json:"put"`
	// LastOrg and LastName are where the next part begins after.
	LastOrg  string `json:"lastOrg,omitempty"`
	LastName string `json:"lastName,omitempty"`
	// FromPage and ToPage are the pages of the table that are yet to be gone through, before all that is missing is
	// looked for by name. Both zero is a roll that is made by name from the start.
	FromPage int64 `json:"fromPage,omitempty"`
	ToPage   int64 `json:"toPage,omitempty"`
	// Pages is how many pages each part goes through.
	Pages int64 `json:"pages,omitempty"`
	// Done tells that nothing comes after.
	Done bool `json:"done"`
}

// Next asks for the part after r, which was the answer to in.
func (r RollResult) Next(in RollInput) RollInput {
	in.AfterOrg, in.AfterName, in.FromPage, in.ToPage, in.Pages = r.LastOrg, r.LastName, r.FromPage, r.ToPage, r.Pages
	return in
}

func (in RollInput) first() bool { return in.AfterOrg == "" && in.ToPage == 0 }

func (in RollInput) limit() int {
	if in.Limit <= 0 || in.Limit > MaxRollSize {
		return MaxRollSize
	}
	return in.Limit
}

// after is the position in the order of organisation and name; the first organisation is all zeros, and no name is
// empty.
func (in RollInput) after() (orgID, name string) {
	if in.AfterOrg == "" {
		return runbook.DefaultOrgID, ""
	}
	return in.AfterOrg, in.AfterName
}

// PutOnRoll puts the next eligible devices on a restore's roll (T1), in one transaction. Repeated it leaves those that
// are on the roll as they are, so that it may start over after a crash, at any point. Once FinishRoll was called there
// is nothing left to put. A restore that no longer runs is a *Refusal.
func (s *Store) PutOnRoll(ctx context.Context, in RollInput) (RollResult, error) {
	var result RollResult
	err := s.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		r, err := lockRunning(ctx, tx, in.RestoreID)
		if err != nil {
			return err
		}
		if r.RolledAt != nil {
			result.Done = true
			return nil
		}
		result, err = r.putOnRoll(ctx, tx, in)
		return err
	})
	if err != nil {
		return RollResult{}, fmt.Errorf("put devices on the roll of restore %s: %w", in.RestoreID, err)
	}
	return result, nil
}

// page is what the statement that fills a part of the roll says about it.
type page struct {
	Size     int    `db:"size"`
	LastOrg  string `db:"last_org"`
	LastName string `db:"last_name"`
}

func (p page) result(limit int) RollResult {
	return RollResult{Put: p.Size, LastOrg: p.LastOrg, LastName: p.LastName, Done: p.Size < limit}
}

// filled is what fillRoll says: how many of a window it has put on the roll, how many are in the window, and after
// which to go on, which is the last of the window, or the last that was put where there were more than one transaction
// may take.
type filled struct {
	Put      int    `db:"put"`
	Seen     int    `db:"seen"`
	LastOrg  string `db:"last_org"`
	LastName string `db:"last_name"`
}

func (r restore) putOnRoll(ctx context.Context, tx *sqlx.Tx, in RollInput) (RollResult, error) {
	if in.first() {
		var err error
		if in.ToPage, in.Pages, err = r.pagesFor(ctx, tx, in.limit()); err != nil {
			return RollResult{}, err
		}
	}
	if in.FromPage < in.ToPage && in.Pages > 0 {
		return r.putPages(ctx, tx, in)
	}
	window := in.limit()
	if in.ToPage > 0 {
		window = max(window, sweepSize) // nearly all are on the roll
	}
	orgID, name := in.after()
	f, err := r.fill(ctx, tx, windowByName, in.limit(), orgID, name, window)
	if err != nil {
		return RollResult{}, err
	}
	return RollResult{
		Put: f.Put, LastOrg: f.LastOrg, LastName: f.LastName, FromPage: in.FromPage, ToPage: in.ToPage, Pages: in.Pages,
		Done: f.Put < in.limit() && f.Seen < window,
	}, nil
}

// sweepSize is how many devices one transaction looks at where nearly all are on the roll already.
const sweepSize = 10_000

// onPages is how many devices one transaction expects on its pages: fewer than it may take, as no two pages hold the
// same.
func onPages(limit int) int { return max(1, limit*9/10) }

// RollParts is about how many transactions put so many devices on a roll.
func RollParts(devices int) int {
	if devices <= 2*MaxRollSize {
		return devices/MaxRollSize + 1
	}
	return devices/onPages(MaxRollSize) + devices/sweepSize + 2
}

// putPages puts those on the roll whose rows lie on the next pages of the table. Those it does not see, because the row
// has been moved meanwhile or there were too many on these pages, the sweep by name finds.
func (r restore) putPages(ctx context.Context, tx *sqlx.Tx, in RollInput) (RollResult, error) {
	next := min(in.FromPage+in.Pages, in.ToPage)
	f, err := r.fill(ctx, tx, windowByPage, in.limit(), in.FromPage, next)
	// Before the first name: a workflow of the release before, which knows nothing of pages, goes on by name from there.
	return RollResult{Put: f.Put, LastOrg: runbook.DefaultOrgID, FromPage: next, ToPage: in.ToPage, Pages: in.Pages}, err
}

func (r restore) fill(ctx context.Context, tx *sqlx.Tx, window string, limit int, where ...any) (f filled, err error) {
	if _, err := tx.ExecContext(ctx, bulk); err != nil {
		return f, fmt.Errorf("prepare to write the roll: %w", err)
	}
	args := append([]any{r.ID, r.OrgID, ineligible, limit, runbook.StateAwaitingReconnect, r.OpenedBy}, where...)
	if err := tx.GetContext(ctx, &f, fillRoll(window), args...); err != nil {
		return f, fmt.Errorf("write the roll: %w", err)
	}
	return f, nil
}

// pagesFor is how many pages of the devices' table are to be gone through in its own order, and how many of them a
// part of limit devices goes through, as far as PostgreSQL knows. Later parts do not ask again: the table grows while
// the roll is made. Both are 0 where the order of names is as good: a small fleet, one organisation of several, or a
// table of which PostgreSQL knows nothing yet.
func (r restore) pagesFor(ctx context.Context, tx *sqlx.Tx, limit int) (all, each int64, err error) {
	if r.OrgID != "" {
		return 0, 0, nil
	}
	var known struct {
		Rows  float64 `db:"reltuples"` // -1 is not known
		Pages float64 `db:"relpages"`
		Now   int64   `db:"now"`
	}
	err = tx.GetContext(ctx, &known, `
		select reltuples, relpages, pg_relation_size(oid) / cast(current_setting('block_size') as bigint) as now
		from pg_class where oid = 'devices'::regclass`)
	if err != nil {
		return 0, 0, fmt.Errorf("read the size of the devices' table: %w", err)
	}
	if known.Rows <= float64(2*limit) {
		return 0, 0, nil
	}
	return known.Now, max(1, int64(float64(onPages(limit))*known.Pages/known.Rows)), nil
}

// RunningRoll is what a running restore looks like to someone who measures it.
type RunningRoll struct {
	RestoreID string
	Counts    map[runbook.State]int64
	// OldestPaused is how long the device that has been ConflictPaused longest has been so; zero where none is.
	OldestPaused time.Duration
	// TotalPaused is the same of all paused devices, added up.
	TotalPaused time.Duration
	// HeldBack is how many reports were not told to the roll call, as their devices have reported too often.
	HeldBack int64
}

// RunningRolls reads all restores that run, in one statement.
func (s *Store) RunningRolls(ctx context.Context) ([]RunningRoll, error) {
	var rows []struct {
		ID     string        `db:"id"`
		State  runbook.State `db:"state"`
		Count  int64         `db:"n"`
		Oldest float64       `db:"oldest"`
		Sum    float64       `db:"sum"`
		Held   int64         `db:"held"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT r.id, coalesce(l.state, '') AS state, count(l.state) AS n,
		       coalesce(max(extract(epoch FROM now() - l.since)), 0) AS oldest,
		       coalesce(sum(extract(epoch FROM now() - l.since)), 0) AS sum,
		       coalesce(sum(l.held_back), 0) AS held
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
		roll.HeldBack += row.Held
		if row.State == runbook.StateConflictPaused {
			roll.OldestPaused = time.Duration(row.Oldest * float64(time.Second))
			roll.TotalPaused = time.Duration(row.Sum * float64(time.Second))
		}
	}
	return rolls, nil
}
