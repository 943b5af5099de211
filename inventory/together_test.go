package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
)

// crowd is a fleet that awaits its reconnect, and reports that all come while nothing can be written: the first two
// statements are under way, and all other reports wait.
type crowd struct {
	store   *inventory.Store
	answers []inventory.Transitioned
	failed  []error
	letGo   func()
}

func newCrowd(t *testing.T, n int, ctx func(i int) context.Context, in func(i int) inventory.ReconnectInput) *crowd {
	store := newStore(t)
	for i := range n {
		versioned(fmt.Sprint("d", i), "5").create(t, store)
	}
	restored(t, store)
	send(t, store, reconnectOf("nobody", "5")) // prepares the statement, one at a time
	c := &crowd{store: store, answers: make([]inventory.Transitioned, n), failed: make([]error, n)}
	gate := store.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`lock table rollcall.roll in exclusive mode`)
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() { c.answers[i], c.failed[i] = store.Reconnect(ctx(i), in(i)) })
		if i < 2 { // each in a statement of its own
			requireBlocked(t, store, i+1)
			continue
		}
		require.Eventually(t, func() bool {
			return store.Waiting() == i-1
		}, waitFor, time.Millisecond, "they come one after the other")
	}
	c.letGo = func() {
		require.NoError(t, gate.Rollback())
		done.Wait()
	}
	return c
}

func TestReportsAtTheSameTimeShareStatements(t *testing.T) {
	t.Parallel()
	const n = 50
	c := newCrowd(t, n, func(int) context.Context { return t.Context() }, func(i int) inventory.ReconnectInput {
		return reconnectOf(fmt.Sprint("d", i), []string{"5", "7"}[i%2])
	})
	c.letGo()
	for i, a := range c.answers {
		require.NoError(t, c.failed[i])
		require.True(t, a.Applied)
		require.Equal(t, []string{"T2", "T3"}[i%2], string(a.Transition))
		require.Equal(t, a.State, stateOf(t, c.store, fmt.Sprint("d", i)))
		require.Equal(t, string(a.State),
			*readString(t, c.store, `select state from rollcall.roll where name = $1`, fmt.Sprint("d", i)))
		require.False(t, a.At.IsZero())
	}
	require.Equal(t, 2*n, transitions(t, c.store))
	require.Equal(t, n+1, count(t, c.store, `select count(*) from events`))
	require.Equal(t, 2+3,
		count(t, c.store, `select count(distinct cast(xmin as text)) from rollcall.transitions where transition <> 'T1'`),
		"transactions: one, one, and 48 in three of sixteen")
}

// What is wrong with one report is that one's alone.
func TestAReportThatFailsDoesNotFailOthers(t *testing.T) {
	t.Parallel()
	const n, bad = 10, 7
	c := newCrowd(t, n, func(int) context.Context { return t.Context() }, func(i int) inventory.ReconnectInput {
		in := reconnectOf(fmt.Sprint("d", i), "5")
		if i == bad {
			in.RequestID = "\x00" // which PostgreSQL cannot hold
		}
		return in
	})
	c.letGo()
	for i := range n {
		if i == bad {
			require.Error(t, c.failed[i])
			require.Equal(t, isAwaiting, stateOf(t, c.store, fmt.Sprint("d", i)))
			continue
		}
		require.NoError(t, c.failed[i])
		require.True(t, c.answers[i].Applied)
		require.Equal(t, isNormal, stateOf(t, c.store, fmt.Sprint("d", i)))
	}
	require.Equal(t, n+n-1, transitions(t, c.store))
}

// An organisation's id may be written in either case.
func TestAReportThatWritesTheOrganisationInCapitals(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	org, err := store.CreateOrg(t.Context(), "acme")
	require.NoError(t, err)
	d := versioned("d", "5")
	d.OrgID = org
	d.create(t, store)
	restored(t, store)
	report, resume := reconnectOf("d", "7"), resumeOf("d", "bob")
	report.OrgID, resume.OrgID = strings.ToUpper(org), strings.ToUpper(org)
	for _, in := range []any{report, resume} {
		require.True(t, send(t, store, in).Applied)
	}
	require.Equal(t, 3, transitions(t, store))
}

func TestTwoReportsOfOneDeviceAtTheSameTime(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 8, func(int) context.Context { return t.Context() }, func(i int) inventory.ReconnectInput {
		return reconnectOf(fmt.Sprint("d", i/4), "7")
	})
	c.letGo()
	applied := 0
	for i, a := range c.answers {
		require.NoError(t, c.failed[i])
		require.Equal(t, isPaused, a.State)
		if a.Applied {
			applied++
		}
	}
	require.Equal(t, 2, applied)
	require.Equal(t, 8+2, transitions(t, c.store))
}

// Who has gone away while it waited is answered at once. What it asked for is not done, unless it was under way
// together with what others still wait for.
func TestAReportThatNobodyWaitsForAnyMore(t *testing.T) {
	t.Parallel()
	first, leaveFirst := context.WithCancel(t.Context())
	later, leaveLater := context.WithCancel(t.Context())
	const n = 24
	c := newCrowd(t, n, func(i int) context.Context {
		switch {
		case i == 0:
			return first
		case i%2 == 0:
			return later
		}
		return t.Context()
	}, func(i int) inventory.ReconnectInput { return reconnectOf(fmt.Sprint("d", i), "5") })
	leaveFirst() // its statement is given up, and the next one, of sixteen reports, begins
	require.Eventually(t, func() bool { return c.store.Waiting() == 6 }, waitFor, tick)
	requireBlocked(t, c.store, 2)
	leaveLater()
	c.letGo()
	carriedOut := 0
	for i := range n {
		switch {
		case i%2 == 0:
			require.ErrorIs(t, c.failed[i], context.Canceled)
		default:
			require.NoError(t, c.failed[i])
			require.True(t, c.answers[i].Applied)
			carriedOut++
		}
	}
	require.Equal(t, isAwaiting, stateOf(t, c.store, "d0"))
	require.Equal(t, n+carriedOut+8, transitions(t, c.store),
		"of the sixteen that were under way together eight were still waited for")
}

// Whoever decides after a run's last deadline what it has left relies on it that nothing is written later. Reports
// that are under way together have deadlines of their own, and the others are not given up with the first.
func TestNoReportIsWrittenAfterItsDeadline(t *testing.T) {
	t.Parallel()
	first, leaveFirst := context.WithCancel(t.Context())
	deadline := time.Now().Add(time.Second) // what waits for the lock is given up after some seconds
	hurried, stop := context.WithDeadline(t.Context(), deadline)
	t.Cleanup(stop)
	const n = 18
	c := newCrowd(t, n, func(i int) context.Context {
		switch {
		case i == 0:
			return first
		case i%3 == 0:
			return hurried
		}
		return t.Context()
	}, func(i int) inventory.ReconnectInput { return reconnectOf(fmt.Sprint("d", i), "5") })
	leaveFirst() // the next statement, of all who wait, begins
	require.Eventually(t, func() bool {
		return count(t, c.store,
			`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
				and query_start > $1`, deadline) > 0
	}, waitFor, tick, "the others are carried out by a statement of their own")
	c.letGo()
	for i := range n {
		name := fmt.Sprint("d", i)
		if i%3 == 0 {
			require.Error(t, c.failed[i])
			require.Equal(t, isAwaiting, stateOf(t, c.store, name))
			continue
		}
		require.NoError(t, c.failed[i])
		require.True(t, c.answers[i].Applied)
		require.Equal(t, isNormal, stateOf(t, c.store, name))
	}
	require.Equal(t, n+n-6, transitions(t, c.store))
}

// A device that someone holds holds up itself alone.
func TestADeviceThatIsHeldHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	const n = 40
	for i := range n {
		versioned(fmt.Sprint("d", i), "5").create(t, store)
	}
	restored(t, store)
	gate := store.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`update devices set status = status || '{"os": {"image": "new"}}' where name = 'd7'`)
	held := make(chan inventory.Transitioned, 1)
	together(t, nil, n, func(i int) error {
		if i == 7 {
			go func() {
				a, _ := store.Reconnect(t.Context(), reconnectOf("d7", "5"))
				held <- a
			}()
			return nil
		}
		_, err := store.Reconnect(t.Context(), reconnectOf(fmt.Sprint("d", i), "5"))
		return err
	})
	requireBlocked(t, store, 1)
	require.Equal(t, 2*n-1, transitions(t, store))
	require.NoError(t, gate.Commit())
	require.True(t, (<-held).Applied)
	require.Equal(t, "new", *readString(t, store, `select status #>> '{os,image}' from devices where name = 'd7'`))
}

// Agents write without end while their devices are let back in, and nothing of either is lost.
func TestReportsAmongOtherWrites(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	const n, writers, writes = 60, 4, 150
	for i := range n {
		versioned(fmt.Sprint("d", i), "5").create(t, store)
	}
	restored(t, store)
	together(t, store, writers+n, func(i int) error {
		if i < writers {
			for w := range writes {
				_, err := store.DB().ExecContext(t.Context(), `
					update devices set status = jsonb_set(status, '{count}', to_jsonb(coalesce((status -> 'count')::int, 0) + 1)),
					resource_version = resource_version + 1
					where name = $1`, fmt.Sprint("d", (w*writers+i)%n))
				if err != nil {
					return err
				}
			}
			return nil
		}
		a, err := store.Reconnect(t.Context(), reconnectOf(fmt.Sprint("d", i-writers), "5"))
		if err == nil && !a.Applied {
			err = fmt.Errorf("not applied: %+v", a)
		}
		return err
	})
	require.Equal(t, writers*writes, count(t, store, `select sum((status -> 'count')::int) from devices`))
	require.Equal(t, 2*n+writers*writes, count(t, store, `select sum(resource_version) from devices`))
	require.Equal(t, n,
		count(t, store,
			`select count(*) from devices d join rollcall.roll r using (name)
				where rollcall.device_state(d.annotations) = 'Normal'
		and r.state = 'Normal' and d.status #>> '{summary,status}' = 'Online'`))
	require.Equal(t, 2*n, transitions(t, store))
}
