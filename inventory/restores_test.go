package inventory_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

func TestOpenRestoreKeepsScopesApart(t *testing.T) {
	t.Parallel()
	const all, one, two = "", runbook.DefaultOrgID, "two" // the last is made in each database
	type restore struct{ id, org string }
	cases := map[string]struct {
		running    []restore
		opens      restore
		supersede  bool
		want       runbook.Code
		superseded []string
	}{
		"none runs": {nil, restore{"r", all}, false, "", nil},
		"all meets all": {
			[]restore{{"a", all}}, restore{"r", all}, false, runbook.CodeRestoreRunning, nil,
		},
		"all supersedes all": {[]restore{{"a", all}}, restore{"r", all}, true, "", []string{"a"}},
		"all meets one": {
			[]restore{{"a", one}}, restore{"r", all}, false, runbook.CodeRestoreRunning, nil,
		},
		"all supersedes several": {
			[]restore{{"a", one}, {"b", two}}, restore{"r", all}, true, "", []string{"a", "b"},
		},
		"one meets all": {
			[]restore{{"a", all}}, restore{"r", one}, false, runbook.CodeRestoreRunning, nil,
		},
		"one cannot supersede all": {
			[]restore{{"a", all}}, restore{"r", one}, true, runbook.CodeScopeMismatch, nil,
		},
		"one beside another":                 {[]restore{{"a", one}}, restore{"r", two}, false, "", nil},
		"one supersedes its own and no more": {[]restore{{"a", one}, {"b", two}}, restore{"r", two}, true, "", []string{"b"}},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			made, err := store.CreateOrg(t.Context(), two)
			require.NoError(t, err)
			open := func(r restore, supersede bool) (inventory.OpenRestoreResult, error) {
				if r.org == two {
					r.org = made
				}
				return store.OpenRestore(t.Context(),
					inventory.OpenRestoreInput{ID: r.id, OrgID: r.org, Supersede: supersede, By: "alice"})
			}
			for _, r := range c.running {
				_, err := open(r, false)
				require.NoError(t, err)
			}
			got, err := open(c.opens, c.supersede)
			if c.want != "" {
				require.Equal(t, c.want, refusal(t, err))
				require.Equal(t, len(c.running), count(t, store, `select count(*) from rollcall.restores where state = 'Running'`))
				return
			}
			require.NoError(t, err)
			require.False(t, got.TakenUp)
			require.Equal(t, c.superseded, got.Superseded)
			for _, id := range c.superseded {
				require.Equal(t, "r",
					*readString(t, store, `select superseded_by from rollcall.restores where id = $1 and finished_at is not null`, id))
			}
			again, err := open(c.opens, false)
			require.NoError(t, err)
			got.TakenUp, got.WasRunning = true, true
			require.Equal(t, got, again, "opened again it says the same")
		})
	}
}

func TestARestoreIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	open := func(in inventory.OpenRestoreInput) error {
		_, err := store.OpenRestore(t.Context(), in)
		return err
	}
	require.Equal(t, runbook.CodeScopeMismatch,
		refusal(t, open(inventory.OpenRestoreInput{ID: "r1", OrgID: runbook.DefaultOrgID})))
	cancelRestore(t, store, "r1")
	require.Equal(t, runbook.CodeSuperseded, code(send(t, store, reconnectOf("d", "5"))))

	require.NoError(t, open(inventory.OpenRestoreInput{ID: "r1"}))
	status, err := store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreRunning, status.State)
	require.Nil(t, status.FinishedAt)

	cancelRestore(t, store, "r1")
	require.NoError(t, open(inventory.OpenRestoreInput{ID: "r2"}))
	require.Equal(t, runbook.CodeRestoreRunning, refusal(t, open(inventory.OpenRestoreInput{ID: "r1"})),
		"a newer one runs")
	putAll(t, store, "r2")
	require.Equal(t, runbook.CodeRestoreEnded, refusal(t, open(inventory.OpenRestoreInput{ID: "r1", Supersede: true})),
		"a newer one has its devices")

	require.NoError(t, open(inventory.OpenRestoreInput{ID: "r3", Supersede: true}))
	require.Equal(t, runbook.CodeRestoreEnded, refusal(t, open(inventory.OpenRestoreInput{ID: "r2"})), "it was superseded")
}

func TestOpenRestoreRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for in, want := range map[inventory.OpenRestoreInput]runbook.Code{
		{ID: ""}:    runbook.CodeInvalidRequest,
		{ID: "a/b"}: runbook.CodeInvalidRequest,
		{ID: "r", OrgID: "5f0c7c3e-0000-4000-8000-000000000000"}: runbook.CodeNotFound,
	} {
		_, err := store.OpenRestore(t.Context(), in)
		require.Equal(t, want, refusal(t, err))
	}
}

func TestOfManyRestoresOneOpens(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for round := range 5 {
		var refused, running atomic.Int32
		together(t, store, 16, func(i int) error {
			_, err := store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: fmt.Sprint("r", round, "-", i)})
			if refusal := runbook.AsRefusal(err); refusal != nil && refusal.Code == runbook.CodeRestoreRunning {
				refused.Add(1)
				return nil
			}
			running.Add(1)
			return err
		})
		require.EqualValues(t, 1, running.Load())
		require.EqualValues(t, 15, refused.Load())
		current, err := store.RestoreStatus(t.Context(), "")
		require.NoError(t, err)
		cancelRestore(t, store, current.RestoreID)
	}
}

func TestCloseRestore(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("d", "5").create(t, store)
	openRestore(t, store, "r1")
	finish := func(state runbook.RestoreState) (runbook.RestoreStatus, error) {
		return store.CloseRestore(t.Context(),
			inventory.CloseRestoreInput{RestoreID: "r1", State: state, By: "alice", Reason: "why"})
	}
	_, err := finish(runbook.RestoreCompleted)
	require.Equal(t, runbook.CodeFailed, refusal(t, err), "its roll is not made")
	putAll(t, store, "r1")
	_, err = finish(runbook.RestoreCompleted)
	require.Equal(t, runbook.CodeDevicesWaiting, refusal(t, err), "a device awaits its reconnect")
	send(t, store, reconnectOf("d", "7"))
	_, err = finish(runbook.RestoreCompleted)
	require.Equal(t, runbook.CodeDevicesWaiting, refusal(t, err), "a device is paused")
	_, err = finish(runbook.RestoreSuperseded)
	require.Equal(t, runbook.CodeInvalidRequest, refusal(t, err))

	send(t, store, resumeOf("d", "bob"))
	done, err := finish(runbook.RestoreCompleted)
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreCompleted, done.State)
	require.EqualValues(t, 1, done.Counts[isNormal])
	require.NotNil(t, done.FinishedAt)
	for _, state := range []runbook.RestoreState{runbook.RestoreCompleted, runbook.RestoreCancelled} {
		again, err := finish(state)
		require.NoError(t, err)
		require.Equal(t, done, again, "one that has ended stays so")
	}
	require.Equal(t, runbook.CodeAlreadyResumed, code(send(t, store, resumeOf("d", "carol"))))

	_, err = store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1"})
	require.Equal(t, runbook.CodeRestoreEnded, refusal(t, err))
	_, err = store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "nope", State: runbook.RestoreCancelled})
	require.Equal(t, runbook.CodeNotFound, refusal(t, err))
}
