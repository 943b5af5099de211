package inventory_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

func lookOf(name string) inventory.SyncInput {
	return inventory.SyncInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name, RequestID: uuid.NewString()}
}

func look(t *testing.T, store *inventory.Store, name string) inventory.Transitioned {
	t.Helper()
	result, err := store.Sync(t.Context(), lookOf(name))
	require.NoError(t, err)
	return result
}

func TestLookFollowsFlightControl(t *testing.T) {
	t.Parallel()
	const released, paused, resumed = "Flight Control has released it", "Flight Control has paused it", "Flight Control " +
		"has resumed it"
	type step struct {
		statement string
		args      []any
	}
	conflict := []step{{fcReported, []any{"7"}}, {fcPaused, nil}}
	for name, tc := range map[string]struct {
		before []step // what the roll has followed already
		played []step
		want   inventory.Transitioned
		// alone reports whether a restore that stands alone follows it as well.
		alone bool
	}{
		"released": {
			played: []step{{fcReported, []any{"5"}}, {fcReleased, nil}},
			want: inventory.Transitioned{
				Transition: runbook.T2, State: runbook.StateNormal, Reported: "5", Updated: "UpToDate", Reason: released,
			},
		},
		"released with an older version": {
			played: []step{{fcReported, []any{""}}, {fcReleased, nil}},
			want: inventory.Transitioned{
				Transition: runbook.T2, State: runbook.StateNormal, Reported: "0", Updated: "OutOfDate", Reason: released,
			},
		},
		"paused": {
			played: conflict,
			want: inventory.Transitioned{
				Transition: runbook.T3, State: runbook.StateConflictPaused, Reported: "7", Updated: "OutOfDate", Reason: paused,
			},
		},
		"resumed": {
			before: conflict, played: []step{{fcResumed, nil}},
			want: inventory.Transitioned{
				Transition: runbook.T4, State: runbook.StateNormal, Reported: "7", Next: "8", Reason: resumed,
			},
		},
		"resumed and rendered": {
			before: conflict, played: []step{{fcResumed, nil}, {fcRendered, []any{"9"}}},
			want: inventory.Transitioned{
				Transition: runbook.T4, State: runbook.StateNormal, Reported: "7", Next: "9", Reason: resumed,
			},
		},
		"deleted": {
			played: []step{{fcDeleted, nil}}, alone: true,
			want: inventory.Transitioned{
				Transition: runbook.T5, State: runbook.StateWithdrawn, Reason: "the device was deleted",
			},
		},
		"removed": {
			played: []step{{fcRemoved, nil}}, alone: true,
			want: inventory.Transitioned{
				Transition: runbook.T5, State: runbook.StateWithdrawn, Reason: "the device is not in the inventory any more",
			},
		},
		"decommissioned while paused": {
			before: conflict, played: []step{{fcDecommissioned, nil}},
			want: inventory.Transitioned{
				Transition: runbook.T5, State: runbook.StateWithdrawn, Reported: "7", Reason: "the device is Decommissioning",
			},
		},
		"decommissioned": {
			played: []step{{fcDecommissioned, nil}}, alone: true,
			want: inventory.Transitioned{
				Transition: runbook.T5, State: runbook.StateWithdrawn, Reason: "the device is Decommissioning",
			},
		},
	} {
		for kind, open := range databases {
			for mode, roll := range map[string]func(*testing.T, *inventory.Store, ...device) *inventory.Store{
				"beside": beside, "alone": restored,
			} {
				if mode == "alone" && !tc.alone {
					continue
				}
				t.Run(name+" "+kind+" "+mode, func(t *testing.T) {
					t.Parallel()
					store := roll(t, open(t), reporting("d", "5"))
					for _, s := range tc.before {
						play(t, store, s.statement, append([]any{"d"}, s.args...)...)
					}
					if tc.before != nil {
						require.True(t, look(t, store, "d").Applied)
					}
					for _, s := range tc.played {
						play(t, store, s.statement, append([]any{"d"}, s.args...)...)
					}
					const row = `select coalesce(max(resource_version), 0) from devices where name = 'd'`
					before, audit := count(t, store, row), transitions(t, store)
					in := lookOf("d")
					got, err := store.Sync(t.Context(), in)
					require.NoError(t, err)
					want := tc.want
					want.Applied, want.Restored, want.By, want.At = true, "5", inventory.ActorFlightctl, got.At
					require.Equal(t, want, got)
					require.NotZero(t, got.At)
					require.Equal(t, before, count(t, store, row), "the device is Flight Control's to write")
					require.Equal(t, audit+1, transitions(t, store))
					require.Equal(t, 1,
						count(t, store, `select count(*) from rollcall.roll where state = $1 and coalesce(reported_version, '') = $2
						and coalesce(next_version, '') = $3`, got.State, got.Reported, got.Next))

					again, err := store.Sync(t.Context(), in)
					require.NoError(t, err)
					require.NotNil(t, again.Now)
					require.Equal(t, got.State, again.Now.State)
					require.Equal(t, got.Reported, again.Now.Reported)
					again.Now = nil
					require.Equal(t, got, again, "the same request gets the first answer")
					require.Equal(t, audit+1, transitions(t, store))
				})
			}
		}
	}
}

// Where our gateway answers the agents, a row is no report and no decision, whatever another hand does to annotations:
// the status in it may be the backup's.
func TestAloneALookFollowsNoAnnotation(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restored(t, open(t), reporting("released", "5"), reporting("unreadable", "5"), reporting("paused", "5"),
				reporting("resumed", "5"))
			send(t, store, reconnectOf("resumed", "7"))
			play(t, store, fcReported, "unreadable", "v7")
			play(t, store, fcReleased, "unreadable")
			play(t, store, fcReleased, "released")
			play(t, store, fcReported, "paused", "8")
			play(t, store, fcPaused, "paused")
			play(t, store, fcResumed, "resumed")
			require.Empty(t, sighted(t, store, time.Time{}))
			audit := transitions(t, store)
			for _, name := range []string{"released", "unreadable", "paused"} {
				got := look(t, store, name)
				require.Equal(t, []any{false, runbook.StateAwaitingReconnect}, []any{got.Applied, got.State}, name)
				require.Equal(t, runbook.StateAwaitingReconnect, agentDevice(t, store, name).State, name)
			}
			got := look(t, store, "resumed")
			require.Equal(t, []any{false, runbook.StateConflictPaused, "7"}, []any{got.Applied, got.State, got.Reported})
			require.Equal(t, audit, transitions(t, store))

			early, err := store.Resume(t.Context(), resumeOf("paused", "alice"))
			require.NoError(t, err)
			require.Equal(t, runbook.CodeNotPaused, code(early), "no one has seen a conflict")
			for _, name := range []string{"released", "unreadable", "paused"} {
				require.Equal(t, runbook.T3, send(t, store, reconnectOf(name, "7")).Transition, name)
			}
			decided, err := store.Resume(t.Context(), resumeOf("resumed", "alice"))
			require.NoError(t, err)
			require.Equal(t, []any{runbook.T4, "8"}, []any{decided.Transition, decided.Next})
		})
	}
}

func TestLookChangesNothingWhereAllAgree(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("waits", "5"), reporting("paused", "5"), reporting("back", "5"),
		reporting("again", "5"))
	send(t, store, reconnectOf("paused", "7"))
	send(t, store, reconnectOf("again", "7"))
	send(t, store, reconnectOf("back", "5"))
	store.DB().MustExec(`update devices set annotations = annotations || '{"device-controller/awaitingReconnect": "true"}'
		where name = 'again'`)
	audit := transitions(t, store)
	for name, state := range map[string]runbook.State{
		"waits": runbook.StateAwaitingReconnect, "paused": runbook.StateConflictPaused, "back": runbook.StateNormal,
		"again": runbook.StateAwaitingReconnect,
	} {
		got := look(t, store, name)
		require.Equal(t, state, got.State, name)
		require.False(t, got.Applied, name)
		require.Nil(t, got.Refusal, name)
	}
	require.Equal(t, audit, transitions(t, store))
}

func TestAHumanWhoComesAfterFlightControlIsTold(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("d", "5"))
	play(t, store, fcReported, "d", "7")
	play(t, store, fcPaused, "d")
	look(t, store, "d")
	play(t, store, fcResumed, "d")
	look(t, store, "d")
	got, err := store.Resume(t.Context(), resumeOf("d", "bob"))
	require.NoError(t, err)
	require.Equal(t, runbook.CodeAlreadyResumed, code(got))
	require.Equal(t, inventory.ActorFlightctl, got.By)
}

func TestLookOfASupersededRestore(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), reporting("d", "5"))
	openRestore(t, store, "r2")
	play(t, store, fcReleased, "d")
	require.Equal(t, runbook.CodeSuperseded, code(look(t, store, "d")))
	require.Equal(t, 1,
		count(t, store, `select count(*) from rollcall.roll where restore_id = 'r1' and state = 'AwaitingReconnect'`))
	putAll(t, store, "r2")
	require.Equal(t, isAwaiting, stateOf(t, store, "d"))
}
