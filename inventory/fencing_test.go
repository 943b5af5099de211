package inventory_test

import (
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	waitFor = 2 * time.Minute
	tick    = 5 * time.Millisecond
)

// A report of A that has already begun when B puts its device on the roll must fail: this holds B's T1 open in the
// middle, lets the report run into its locks, and then lets T1 go on. B is not opened in the usual way, so that A
// still looks Running to the report, and only the rows can stop it.
func TestAReportUnderWayIsFencedByT1(t *testing.T) {
	t.Parallel()
	messages := map[string]any{
		"reconnect": reconnectOf("d", "5"), "resume": resumeOf("d", "bob"), "withdraw": withdrawOf("d", true),
	}
	gates := map[string]func(t *testing.T, store *inventory.Store) *sqlx.Tx{
		"before A's row is marked": holdInRoll, "after A's row is marked": holdAfterRoll,
	}
	for what, message := range messages {
		for when, hold := range gates {
			t.Run(what+" "+when, func(t *testing.T) {
				t.Parallel()
				store := restored(t, newStore(t), versioned("d", "5"))
				if what == "resume" {
					send(t, store, reconnectOf("d", "7"))
				}
				store.DB().MustExec(`insert into rollcall.restores (id, state) values ('r2', 'Running')`)
				gate := hold(t, store)
				rolled := make(chan error, 1)
				go func() {
					_, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r2"})
					rolled <- err
				}()
				requireBlocked(t, store, 1)
				answer := under(t, store, message)
				requireBlocked(t, store, 2)
				require.NoError(t, gate.Rollback())
				require.NoError(t, <-rolled)

				require.Equal(t, runbook.CodeSuperseded, code(answer()))
				require.Equal(t, isAwaiting, stateOf(t, store, "d"))
				require.Zero(t,
					count(t, store,
						`select count(*) from rollcall.roll where restore_id = 'r1' and (state = 'Normal' or not superseded)`))
			})
		}
	}
}

// A transition waits for whoever holds its device's row, and then writes into what they have left there.
func TestWhatAnotherHandWritesMeanwhileIsKept(t *testing.T) {
	t.Parallel()
	for what, run := range map[string]struct {
		prepare func(t *testing.T, store *inventory.Store)
		act     func(t *testing.T, store *inventory.Store) error
		summary string
	}{
		"T1": {
			func(t *testing.T, store *inventory.Store) {
				_, err := store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r2", Supersede: true})
				require.NoError(t, err)
			},
			func(t *testing.T, store *inventory.Store) error {
				_, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r2"})
				return err
			}, "AwaitingReconnect",
		},
		"T2": {func(*testing.T, *inventory.Store) {}, func(t *testing.T, store *inventory.Store) error {
			_, err := try(t.Context(), store, reconnectOf("d", "5"))
			return err
		}, "Online"},
		"T3": {func(*testing.T, *inventory.Store) {}, func(t *testing.T, store *inventory.Store) error {
			_, err := try(t.Context(), store, reconnectOf("d", "7"))
			return err
		}, "ConflictPaused"},
		"T4": {
			func(t *testing.T, store *inventory.Store) { send(t, store, reconnectOf("d", "7")) },
			func(t *testing.T, store *inventory.Store) error {
				_, err := try(t.Context(), store, resumeOf("d", "bob"))
				return err
			}, "Online",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), versioned("d", "5"))
			run.prepare(t, store)
			before := count(t, store, `select resource_version from devices`)
			gate := store.DB().MustBegin()
			t.Cleanup(func() { _ = gate.Rollback() })
			gate.MustExec(`update devices set status = status || '{"os": {"image": "new"}}',
				annotations = annotations || '{"x": "y"}', resource_version = resource_version + 1`)
			done := make(chan error, 1)
			go func() { done <- run.act(t, store) }()
			requireBlocked(t, store, 1)
			require.NoError(t, gate.Commit())
			require.NoError(t, <-done)

			require.Equal(t, before+2, count(t, store, `select resource_version from devices`))
			require.Equal(t, run.summary, *readString(t, store, `select status -> 'summary' ->> 'status' from devices`))
			require.Equal(t, "new", *readString(t, store, `select status -> 'os' ->> 'image' from devices`))
			require.Equal(t, "y", *readString(t, store, `select annotations ->> 'x' from devices`))
		})
	}
}

// holdAfterRoll makes PutOnRoll wait in its transaction, after it has taken the devices off older rolls, until the
// transaction that is returned ends.
func holdAfterRoll(t *testing.T, store *inventory.Store) *sqlx.Tx {
	store.DB().MustExec(`update device_timestamps set last_seen = now()`)
	gate := store.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`update device_timestamps set last_seen = now()`)
	return gate
}

// holdInRoll makes it wait earlier: with the devices locked, and older rolls still as they were.
func holdInRoll(t *testing.T, store *inventory.Store) *sqlx.Tx {
	gate := store.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`insert into rollcall.roll (restore_id, org_id, name, seq, state) values ('r2', $1, 'd', 0,
		'AwaitingReconnect')`, runbook.DefaultOrgID)
	return gate
}

func requireBlocked(t *testing.T, store *inventory.Store, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return count(t, store,
			`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) == n
	}, waitFor, tick)
}

func stateOf(t *testing.T, store *inventory.Store, name string) runbook.State {
	return runbook.State(*readString(t, store, `select rollcall.device_state(annotations) from devices where name = $1`,
		name))
}

func TestWhereAnotherHandChangedTheAnnotations(t *testing.T) {
	t.Parallel()
	both := `annotations || '{"device-controller/awaitingReconnect": "true", "device-controller/conflictPaused": "true"}'`
	none := `annotations - 'device-controller/awaitingReconnect' - 'device-controller/conflictPaused'`
	onlyPaused := `(` + none + `) || '{"device-controller/conflictPaused": "true"}'`
	cases := map[string]struct {
		first, change string
		message       any
		want          answer
	}{
		"both present, awaiting wins: an equal report": {
			"", both, reconnectOf("d", "5"), answer{true, runbook.T2, isNormal, ""},
		},
		"both present, awaiting wins: a newer report": {
			"", both, reconnectOf("d", "7"), answer{true, runbook.T3, isPaused, ""},
		},
		"both present, awaiting wins: a resume": {
			"", both, resumeOf("d", "bob"), answer{false, runbook.Refused, isAwaiting, runbook.CodeNotPaused},
		},
		"both present on one that was paused: resume": {
			"7", both, resumeOf("d", "bob"), answer{false, runbook.Refused, isAwaiting, runbook.CodeNotPaused},
		},
		"both present on one that was paused: report": {
			"7", both, reconnectOf("d", "5"), answer{true, runbook.T2, isNormal, ""},
		},
		"paused by another hand: resume": {
			"", onlyPaused, resumeOf("d", "bob"), answer{false, runbook.Refused, isAwaiting, runbook.CodeNotPaused},
		},
		"paused by another hand: report": {
			"", onlyPaused, reconnectOf("d", "5"), answer{true, runbook.T2, isNormal, ""},
		},
		"let go by another hand: a newer report": {
			"", none, reconnectOf("d", "7"), answer{true, runbook.T3, isPaused, ""},
		},
		"let go by another hand: an equal report": {
			"", none, reconnectOf("d", "5"), answer{true, runbook.T2, isNormal, ""},
		},
		"let go by another hand: resume": {
			"7", none, resumeOf("d", "bob"), answer{true, runbook.T4, isNormal, ""},
		},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), versioned("d", "5"))
			if c.first != "" {
				send(t, store, reconnectOf("d", c.first))
			}
			store.DB().MustExec(`update devices set annotations = ` + c.change)
			got := send(t, store, c.message)
			require.Equal(t, c.want, answer{got.Applied, got.Transition, got.State, code(got)})
			if got.Applied {
				require.Equal(t, got.State, stateOf(t, store, "d"), "no annotation of another state is left")
				require.Equal(t, string(got.State), *readString(t, store, `select state from rollcall.roll`))
			}
		})
	}
}

func TestAReconnectDecidesOnTheVersionThatTheDeviceHolds(t *testing.T) {
	t.Parallel()
	for annotation, want := range map[string]runbook.Transition{
		"7": runbook.T2, "10": runbook.T2, "6": runbook.T3, "007": runbook.T3, "x": runbook.T3,
	} {
		t.Run(annotation, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), versioned("d", annotation))
			got := send(t, store, reconnectOf("d", "7")) // which says that 5 was restored
			require.Equal(t, want, got.Transition)
			require.Equal(t, annotation, got.Restored)
			if want == runbook.T3 {
				require.Contains(t, *readString(t, store, `select status -> 'summary' ->> 'info' from devices`), annotation)
				require.Equal(t, "8", send(t, store, resumeOf("d", "bob")).Next)
			}
		})
	}
}
