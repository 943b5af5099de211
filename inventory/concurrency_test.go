package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

// together runs f n times at once, on connections that are open already, so that they do meet.
func together(t *testing.T, store *inventory.Store, n int, f func(i int) error) {
	t.Helper()
	if store != nil {
		together(t, nil, store.DB().Stats().MaxOpenConnections, func(int) error {
			_, err := store.DB().ExecContext(t.Context(), `select pg_sleep(0.05)`)
			return err
		})
	}
	var wg sync.WaitGroup
	start, failed := make(chan struct{}), make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			failed[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	require.NoError(t, errors.Join(failed...))
}

func TestOfManyReconnectsOneCounts(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5", "7"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), versioned("d", "5"))
			answers := make([]inventory.Transitioned, 100)
			one := reconnectOf("d", version)
			together(t, store, 100, func(i int) (err error) {
				in := one
				if i%2 == 0 { // half of them are the same request again, half are reports of their own
					in.RequestID = fmt.Sprint(i)
				}
				answers[i], err = store.Reconnect(t.Context(), in)
				return err
			})
			require.Equal(t, 2, transitions(t, store))
			require.Equal(t, 2, count(t, store, `select resource_version from devices`))
			require.Equal(t, 2, count(t, store, `select count(*) from events`))
			for _, a := range answers {
				require.Equal(t, answers[0].State, a.State)
				require.Equal(t, version, a.Reported)
				require.Nil(t, a.Refusal)
			}
		})
	}
}

func TestOfTwoResumesOneWinsAndTheOtherIsToldWho(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	const n = 20
	for i := range n {
		versioned(fmt.Sprint("d", i), "5").create(t, store)
	}
	restored(t, store)
	for i := range n {
		name := fmt.Sprint("d", i)
		send(t, store, reconnectOf(name, "7"))
		people := []string{"bob", "carol"}
		answers := make([]inventory.Transitioned, 2)
		together(t, store, 2, func(i int) (err error) {
			answers[i], err = store.Resume(t.Context(), resumeOf(name, people[i]))
			return err
		})
		winner, loser := answers[0], answers[1]
		if !winner.Applied {
			winner, loser = loser, winner
		}
		require.True(t, winner.Applied)
		require.Equal(t, runbook.CodeAlreadyResumed, code(loser))
		require.Equal(t, winner.By, loser.By)
		require.Equal(t, winner.Reason, loser.Reason)
		require.Equal(t, winner.At, loser.At)
		require.Contains(t, loser.Refusal.Message, winner.By)
		require.Equal(t, winner.By, *readString(t, store, `select resumed_by from rollcall.roll where name = $1`, name))
	}
	require.Equal(t, n, count(t, store, `select count(*) from rollcall.transitions where transition = 'T4'`))
}

func readString(t require.TestingT, store *inventory.Store, query string, args ...any) (s *string) {
	require.NoError(t, store.DB().Get(&s, query, args...))
	return s
}

// While B takes over, part by part, the devices of A report without end. What B has put on its roll must never be let
// go by A: B's devices stay AwaitingReconnect.
func TestASupersededRestoreReleasesNothing(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			const n = 120
			for i := range n {
				versioned(fmt.Sprint("d", i), "5").create(t, store)
			}
			restored(t, store)
			together(t, store, 9, func(i int) error {
				if i == 0 {
					return takeOver(t.Context(), store, "r2")
				}
				for d := i - 1; d < n; d += 4 { // two at a time on each device
					name := fmt.Sprint("d", d)
					for _, message := range []any{
						reconnectOf(name, []string{"5", "7"}[d%2]), resumeOf(name, "bob"), withdrawOf(name, true),
					} {
						if _, err := try(t.Context(), store, message); err != nil {
							return err
						}
					}
				}
				return nil
			})
			require.Equal(t, n,
				count(t, store, `select count(*) from devices where rollcall.device_state(annotations) = 'AwaitingReconnect'`))
			require.Equal(t, n,
				count(t, store, `select count(*) from rollcall.roll where restore_id = 'r2' and state = 'AwaitingReconnect'`))
			require.Zero(t,
				count(t, store,
					`select count(*) from rollcall.roll where restore_id = 'r1' and not superseded and state in ('AwaitingReconnect',
						'ConflictPaused')`))
			require.Zero(t, count(t, store, `
				select count(*) from rollcall.transitions b join rollcall.transitions a on a.name = b.name
				where b.restore_id = 'r2' and a.restore_id = 'r1' and a.id > b.id and a.transition not in ('T1', 'Refused')`))
		})
	}
}

func takeOver(ctx context.Context, store *inventory.Store, id string) error {
	if _, err := store.OpenRestore(ctx, inventory.OpenRestoreInput{ID: id, Supersede: true}); err != nil {
		return err
	}
	in := inventory.RollInput{RestoreID: id, Limit: 7}
	for {
		r, err := store.PutOnRoll(ctx, in)
		if err != nil || r.Done {
			return err
		}
		in = r.Next(in)
	}
}

// An agent that writes its device while a report comes in neither loses its write nor undoes the transition.
func TestATransitionKeepsWhatAnAgentWritesMeanwhile(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	tx := store.DB().MustBegin()
	tx.MustExec(`update devices set status = status || '{"agent": "was here"}', resource_version = resource_version + 1`)
	answer := under(t, store, reconnectOf("d", "7"))
	requireBlocked(t, store, 1)
	require.NoError(t, tx.Commit())
	require.Equal(t, runbook.T3, answer().Transition)
	requireDevice(t, store, "d", 3,
		`{"device-controller/renderedVersion": "5", "device-controller/renderedSpecHash": "abc", "device-controller/conflictPaused": "true"}`,
		`{"agent": "was here", "summary": {"status": "ConflictPaused", "info": "`+pausedInfo("7")+`"},
			"updated": {"status": "OutOfDate"}, "config": {"renderedVersion": "7"}}`)
}

// A decision needs one connection, no more: where every connection was in a transaction that asked for another, all
// stood still until they timed out.
func TestADecisionNeedsOneConnection(t *testing.T) {
	t.Parallel()
	address := devtest.Database(t)
	send(t, restored(t, openStore(t, address), versioned("d", "5")), reconnectOf("d", "7"))
	fresh := openStore(t, address) // has prepared nothing yet
	fresh.DB().SetMaxOpenConns(1)
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	decided, err := fresh.Resume(ctx, resumeOf("d", "bob"))
	require.NoError(t, err)
	require.Equal(t, runbook.T4, decided.Transition)
}
