package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

// crowd is a fleet that awaits its reconnect, and reports that all come while nothing can be written.
type crowd struct {
	store   *inventory.Store
	answers []inventory.Transitioned
	failed  []error
	ended   atomic.Int64
	letGo   func()
}

func newCrowd(t *testing.T, n int, ctx func(i int) context.Context, in func(i int) inventory.ReconnectInput) *crowd {
	url := devtest.Database(t)
	store := openStore(t, with(url, "lock_timeout=5min")) // none gives up on a slow machine
	for i := range n {
		versioned(fmt.Sprint("d", i), "5").create(t, store)
	}
	restored(t, store)
	send(t, store, reconnectOf("absent", "5")) // prepares the statement, which takes a lock as well
	c := &crowd{store: store, answers: make([]inventory.Transitioned, n), failed: make([]error, n)}
	other := openStore(t, url) // the reports take all connections of the pool
	gate := other.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`lock table rollcall.roll in exclusive mode`)
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			c.answers[i], c.failed[i] = store.Reconnect(ctx(i), in(i))
			c.ended.Add(1)
		})
	}
	requireBlocked(t, other, min(n, store.DB().Stats().MaxOpenConnections))
	c.letGo = func() {
		require.NoError(t, gate.Rollback())
		done.Wait()
	}
	return c
}

func TestReportsAtTheSameTime(t *testing.T) {
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

// Who has gone away, or whose deadline has passed, is answered while others still wait, and nothing is written for it
// later. Whoever decides after a run's last deadline what it has left relies on that.
func TestNoReportIsWrittenThatNoOneWaitsFor(t *testing.T) {
	t.Parallel()
	leaving, leave := context.WithCancel(t.Context())
	// It passes in any case before the others are let go; how late does not matter.
	hurried, stop := context.WithTimeout(t.Context(), 2*time.Second)
	t.Cleanup(stop)
	const n, given = 24, 16
	c := newCrowd(t, n, func(i int) context.Context {
		return []context.Context{t.Context(), leaving, hurried}[i%3]
	}, func(i int) inventory.ReconnectInput { return reconnectOf(fmt.Sprint("d", i), "5") })
	leave()
	require.Eventually(t, func() bool { return c.ended.Load() == given }, waitFor, tick)
	c.letGo()
	for i := range n {
		name := fmt.Sprint("d", i)
		if i%3 > 0 {
			require.Error(t, c.failed[i])
			require.Equal(t, isAwaiting, stateOf(t, c.store, name))
			continue
		}
		require.NoError(t, c.failed[i])
		require.True(t, c.answers[i].Applied)
		require.Equal(t, isNormal, stateOf(t, c.store, name))
	}
	require.Equal(t, n+n-given, transitions(t, c.store))
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
