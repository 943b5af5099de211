package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory/pgdial"
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

// errIncomplete is a roll that cannot be finished, because someone is missing.
var errIncomplete = errors.New("devices or requests are missing on the roll")

// FinishRoll ends the making of a restore's roll: it fixes the total and tells of it in one event. It returns the
// total, and repeated the same total. A restore that no longer runs and whose roll is not finished is a *Refusal.
//
// Whoever made the roll part by part knows where each part ended, and not whether PostgreSQL, after a failover, still
// has what it wrote. So the transaction that finishes the roll sees that no one is missing: what it sees is in the
// database if its own commit is. Those that are missing are put on the roll first.
func (s *Store) FinishRoll(ctx context.Context, restoreID string) (int64, error) {
	total, err := s.finishRoll(ctx, restoreID)
	for errors.Is(err, errIncomplete) {
		if err = s.sweepRoll(ctx, restoreID); err == nil {
			total, err = s.finishRoll(ctx, restoreID)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("finish the roll of restore %s: %w", restoreID, err)
	}
	return total, nil
}

func (s *Store) finishRoll(ctx context.Context, restoreID string) (total int64, err error) {
	err = s.inTxWithin(ctx, pgdial.RollPart, func(tx *sqlx.Tx) error {
		r, err := lockRestore(ctx, tx, restoreID)
		if err != nil {
			return err
		}
		if r != nil && r.RolledAt != nil {
			total = r.Total
			return nil
		}
		if r, err = lockRunning(ctx, tx, restoreID); err != nil {
			return err
		}
		if err := r.isComplete(ctx, tx); err != nil {
			return err
		}
		err = tx.GetContext(ctx, &total, `
			update rollcall.restores set rolled_at = now(), total = (select count(*) from rollcall.roll where restore_id = $1)
			where id = $1 returning total`, restoreID)
		if err != nil {
			return fmt.Errorf("write the total: %w", err)
		}
		return restoredEvent(r.OrgID, restoreID, r.OpenedBy, total).write(ctx, tx)
	})
	return total, err
}

// selectMissing reads devices that are to be on the roll of restore $1, and are on it not. One that was made since the
// restore began was not in the backup. Who is not on the roll is found first, from the index by device: the status of
// the others need not be read.
const selectMissing = `
with missing as materialized (
    select d.org_id, d.name from devices d
    where ($2 = '' or d.org_id = cast(nullif($2, '') as uuid))
      and not exists (select from rollcall.roll r where r.org_id = d.org_id and r.name = d.name and r.restore_id = $1)
)
select d.org_id, d.name from missing m join devices d on d.org_id = m.org_id and d.name = m.name
where ` + eligible + `
  and coalesce(d.created_at < (select s.started_at from rollcall.restores s where s.id = $1), true)
order by d.org_id, d.name limit $4`

const selectUnmarked = `
select exists (select from enrollment_requests e where ($2 = '' or e.org_id = cast(nullif($2, '') as uuid))
  and ` + unapproved + ` and e.created_at < (select s.started_at from rollcall.restores s where s.id = $1)
  and coalesce(not e.annotations @> '{"device-controller/awaitingReconnect": "true"}', true))`

// RollIsMade reports whether the roll of a restore was finished, or there is no such restore.
func (s *Store) RollIsMade(ctx context.Context, restoreID string) (made bool, err error) {
	err = s.db.GetContext(ctx, &made,
		`select not exists (select from rollcall.restores where id = $1 and rolled_at is null)`, restoreID)
	if err != nil {
		return false, fmt.Errorf("look whether the roll of restore %s is made: %w", restoreID, err)
	}
	return made, nil
}

// isComplete returns errIncomplete where a device or a request of the backup is missing.
func (r restore) isComplete(ctx context.Context, tx *sqlx.Tx) error {
	missing, err := r.missing(ctx, tx, 1)
	if err != nil {
		return err
	}
	var unmarked bool
	if err := tx.GetContext(ctx, &unmarked, selectUnmarked, r.ID, r.OrgID); err != nil {
		return fmt.Errorf("look for requests that are not marked: %w", err)
	}
	if len(missing) > 0 || unmarked {
		return errIncomplete
	}
	return nil
}

// Device names a device.
type Device struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
}

func (r restore) missing(ctx context.Context, db sqlx.QueryerContext, limit int) (missing []Device, err error) {
	err = sqlx.SelectContext(ctx, db, &missing, selectMissing, r.ID, r.OrgID, ineligible, limit)
	if err != nil {
		return nil, fmt.Errorf("look for devices that are not on the roll: %w", err)
	}
	return missing, nil
}

// sweepRoll goes through all devices and requests by name, and puts those on the roll that are missing.
func (s *Store) sweepRoll(ctx context.Context, restoreID string) error {
	for _, put := range []func(context.Context, RollInput) (RollResult, error){s.sweepOn, s.AnnotateRequests} {
		for in, done := (RollInput{RestoreID: restoreID}), false; !done; {
			result, err := put(ctx, in)
			if err != nil {
				return err
			}
			in, done = result.Next(in), result.Done
		}
	}
	return nil
}

// sweepOn is PutOnRoll by name, through windows of a roll that is nearly made.
func (s *Store) sweepOn(ctx context.Context, in RollInput) (RollResult, error) {
	if in.first() {
		in.FromPage, in.ToPage, in.AfterOrg = 1, 1, runbook.DefaultOrgID
	}
	return s.PutOnRoll(ctx, in)
}

// Missing reads devices of the backup that are to be on the roll of a restore whose roll is made, and are on it not;
// limit is how many at most. A restore that does not run, or whose roll is not made, misses none.
func Missing(ctx context.Context, db sqlx.QueryerContext, restoreID string, limit int) ([]Device, error) {
	var rolled []restore
	err := sqlx.SelectContext(ctx, db, &rolled, selectRestore+`where id = $1 and state = $2 and rolled_at is not null`,
		restoreID, runbook.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("read restore %s: %w", restoreID, err)
	}
	if len(rolled) == 0 {
		return nil, nil
	}
	return rolled[0].missing(ctx, db, limit)
}
