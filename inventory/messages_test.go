package inventory_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// states bring a device, restored at version 5, into each state that a message may meet.
var states = map[string]func(t *testing.T, store *inventory.Store, name string){
	"awaiting": func(*testing.T, *inventory.Store, string) {},
	"paused":   func(t *testing.T, store *inventory.Store, name string) { send(t, store, reconnectOf(name, "7")) },
	"normal":   func(t *testing.T, store *inventory.Store, name string) { send(t, store, reconnectOf(name, "5")) },
	"resumed": func(t *testing.T, store *inventory.Store, name string) {
		send(t, store, reconnectOf(name, "7"))
		send(t, store, resumeOf(name, "carol"))
	},
	"withdrawn":  func(t *testing.T, store *inventory.Store, name string) { send(t, store, withdrawOf(name, true)) },
	"superseded": func(t *testing.T, store *inventory.Store, name string) { openRestore(t, store, "r2") },
	"cancelled":  func(t *testing.T, store *inventory.Store, name string) { cancelRestore(t, store, "r1") },
	"deleted": func(_ *testing.T, store *inventory.Store, name string) {
		store.DB().MustExec(`delete from devices where name = $1`, name)
	},
	"pausedThenDeleted": func(t *testing.T, store *inventory.Store, name string) {
		send(t, store, reconnectOf(name, "7"))
		store.DB().MustExec(`update devices set deleted_at = now() where name = $1`, name)
	},
	"decommissioning": func(_ *testing.T, store *inventory.Store, name string) {
		store.DB().MustExec(`update devices set status = status || '{"lifecycle": {"status": "Decommissioning"}}'
			where name = $1`, name)
	},
}

func send(t *testing.T, store *inventory.Store, message any) inventory.Transitioned {
	t.Helper()
	got, err := try(t.Context(), store, message)
	require.NoError(t, err)
	return got
}

// try is send for a goroutine, which may not end a test.
func try(ctx context.Context, store *inventory.Store, message any) (inventory.Transitioned, error) {
	switch in := message.(type) {
	case inventory.ReconnectInput:
		return store.Reconnect(ctx, in)
	case inventory.ResumeInput:
		return store.Resume(ctx, in)
	case inventory.WithdrawInput:
		return store.Withdraw(ctx, in)
	default:
		return inventory.Transitioned{}, fmt.Errorf("no message: %T", message)
	}
}

// under is a message under way: wait returns its answer.
func under(t *testing.T, store *inventory.Store, message any) (wait func() inventory.Transitioned) {
	var got inventory.Transitioned
	ended := make(chan error, 1)
	go func() {
		var err error
		got, err = try(t.Context(), store, message)
		ended <- err
	}()
	return func() inventory.Transitioned {
		t.Helper()
		require.NoError(t, <-ended)
		return got
	}
}

func cancelRestore(t *testing.T, store *inventory.Store, id string) {
	_, err := store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: id, State: runbook.RestoreCancelled, By: "alice", Reason: "wrong backup"})
	require.NoError(t, err)
}

type answer struct {
	Applied    bool
	Transition runbook.Transition
	State      runbook.State
	Code       runbook.Code
}

const (
	isAwaiting  = runbook.StateAwaitingReconnect
	isPaused    = runbook.StateConflictPaused
	isNormal    = runbook.StateNormal
	isWithdrawn = runbook.StateWithdrawn
)

// messages are all that a device's row may be told, and what it answers in each state.
var messages = map[string]struct {
	message func(name string) any
	answers map[string]answer
}{
	"reconnect same": {func(name string) any { return reconnectOf(name, "5") }, map[string]answer{
		"awaiting": {true, runbook.T2, isNormal, ""},
		"paused":   {true, runbook.Reported, isPaused, ""},
	}},
	"reconnect newer": {func(name string) any { return reconnectOf(name, "7") }, map[string]answer{
		"awaiting": {true, runbook.T3, isPaused, ""},
		"paused":   {false, "", isPaused, ""}, // it was said before
	}},
	"reconnect unreadable": {func(name string) any { return reconnectOf(name, "07") }, map[string]answer{
		"awaiting": {false, runbook.Refused, isAwaiting, runbook.CodeInvalidVersion},
		"paused":   {false, runbook.Refused, isPaused, runbook.CodeInvalidVersion},
	}},
	"resume": {func(name string) any { return resumeOf(name, "bob") }, map[string]answer{
		"awaiting":          {false, runbook.Refused, isAwaiting, runbook.CodeNotPaused},
		"paused":            {true, runbook.T4, isNormal, ""},
		"normal":            {false, runbook.Refused, isNormal, runbook.CodeNotWaiting},
		"resumed":           {false, runbook.Refused, isNormal, runbook.CodeAlreadyResumed},
		"withdrawn":         {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
		"deleted":           {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
		"pausedThenDeleted": {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
		"decommissioning":   {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
	}},
	"resume of another version": {func(name string) any {
		in := resumeOf(name, "bob")
		in.ExpectVersion = "6"
		return in
	}, map[string]answer{
		"awaiting":          {false, runbook.Refused, isAwaiting, runbook.CodeNotPaused},
		"paused":            {false, runbook.Refused, isPaused, runbook.CodeVersionChanged},
		"normal":            {false, runbook.Refused, isNormal, runbook.CodeNotWaiting},
		"resumed":           {false, runbook.Refused, isNormal, runbook.CodeAlreadyResumed},
		"withdrawn":         {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
		"deleted":           {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
		"pausedThenDeleted": {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
		"decommissioning":   {false, runbook.Refused, isWithdrawn, runbook.CodeNotWaiting},
	}},
	"withdraw": {func(name string) any { return withdrawOf(name, false) }, map[string]answer{
		"awaiting": {false, runbook.Refused, isAwaiting, runbook.CodeStillManaged},
		"paused":   {false, runbook.Refused, isPaused, runbook.CodeStillManaged},
	}},
	"withdraw by force": {func(name string) any { return withdrawOf(name, true) }, map[string]answer{
		"awaiting": {true, runbook.T5, isWithdrawn, ""},
		"paused":   {true, runbook.T5, isWithdrawn, ""},
	}},
}

// otherwise is what every message that names nothing better is answered with.
var otherwise = map[string]answer{
	"normal":            {false, runbook.T2, isNormal, ""},
	"resumed":           {false, runbook.T4, isNormal, ""},
	"withdrawn":         {false, runbook.T5, isWithdrawn, ""},
	"superseded":        {false, runbook.Refused, isAwaiting, runbook.CodeSuperseded},
	"cancelled":         {false, runbook.Refused, isAwaiting, runbook.CodeSuperseded},
	"deleted":           {true, runbook.T5, isWithdrawn, ""},
	"pausedThenDeleted": {true, runbook.T5, isWithdrawn, ""},
	"decommissioning":   {true, runbook.T5, isWithdrawn, ""},
}

func TestEveryMessageInEveryState(t *testing.T) {
	t.Parallel()
	for state, bring := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			for what := range messages {
				versioned(what, "5").create(t, store)
			}
			restored(t, store)
			for what := range messages {
				bring(t, store, what)
			}
			for what, m := range messages {
				want, ok := m.answers[state]
				if !ok {
					want, ok = otherwise[state]
					require.True(t, ok)
				}
				requireAnswer(t, store, what, m.message(what), want)
			}
		})
	}
}

func requireAnswer(t *testing.T, store *inventory.Store, what string, message any, want answer) {
	t.Helper()
	before := snapshot(t, store)
	got := send(t, store, message)
	require.Equal(t, want, answer{got.Applied, got.Transition, got.State, code(got)}, what)
	after := snapshot(t, store)
	if !want.Applied || want.Transition == runbook.T5 {
		require.Equal(t, before.Devices, after.Devices, "%s: the device is not touched", what)
	}
	if !want.Applied && want.Transition != runbook.Refused {
		require.Equal(t, before, after, "%s: nothing changes", what)
	}
	again := send(t, store, message)
	if got.Applied {
		want := standingOf(got)
		if got.Transition == runbook.Reported {
			want.At = again.Now.At // it is paused since before
		}
		require.Equal(t, want, again.Now, what)
	}
	again.Now = nil
	require.Equal(t, got, again, "%s: the same request again is answered as before", what)
	require.Equal(t, after, snapshot(t, store), "%s: and changes nothing", what)
}

// standingOf is where a message has put a device.
func standingOf(t inventory.Transitioned) *inventory.Standing {
	return &inventory.Standing{
		State: t.State, Restored: t.Restored, Reported: t.Reported, Next: t.Next, At: t.At, By: t.By, Reason: t.Reason,
	}
}

// everything is all that a message can change, as text.
type everything struct{ Devices, Roll, Transitions, Events string }

func snapshot(t require.TestingT, store *inventory.Store) (e everything) {
	for table, into := range map[string]*string{
		"devices": &e.Devices, "rollcall.roll": &e.Roll, "rollcall.transitions": &e.Transitions, "events": &e.Events,
	} {
		require.NoError(t,
			store.DB().Get(into,
				`select coalesce(string_agg(cast(x as text), e'\n' order by cast(x as text)), '') from `+table+` x`))
	}
	return e
}
