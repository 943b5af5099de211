package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// underID gives a message a request id.
func underID(message any, id string) any {
	switch in := message.(type) {
	case inventory.ReconnectInput:
		in.RequestID = id
		return in
	case inventory.ResumeInput:
		in.RequestID = id
		return in
	case inventory.WithdrawInput:
		in.RequestID = id
		return in
	}
	return message
}

// A person may give messages of two kinds the same id. Each is a decision of its own, and the audit has both: what
// moves a device stands in it, and none is tried without end because the other has the id.
func TestMessagesOfTwoKindsUnderOneRequestID(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	early := func(name string) any { return resumeOf(name, "bob") }
	managed := func(name string) any { return withdrawOf(name, false) }
	unreadable := func(name string) any { return reconnectOf(name, "07") }
	cases := map[string]struct {
		first  func(name string) any
		code   runbook.Code
		second func(name string) any
		does   runbook.Transition
	}{
		"resume-withdraw":  {early, runbook.CodeNotPaused, func(n string) any { return withdrawOf(n, true) }, runbook.T5},
		"resume-reconnect": {early, runbook.CodeNotPaused, func(n string) any { return reconnectOf(n, "7") }, runbook.T3},
		"withdraw-reconnect": {
			managed, runbook.CodeStillManaged,
			func(n string) any { return reconnectOf(n, "5") }, runbook.T2,
		},
		"reconnect-withdraw": {
			unreadable, runbook.CodeInvalidVersion,
			func(n string) any { return withdrawOf(n, true) }, runbook.T5,
		},
		"resume-managed": {early, runbook.CodeNotPaused, managed, runbook.Refused},
	}
	for name := range cases {
		versioned(name, "5").create(t, store)
	}
	restored(t, store, versioned("withdraw-resume", "5"))
	for name, c := range cases {
		const id = "update/ticket 4711"
		require.Equal(t, c.code, code(send(t, store, underID(c.first(name), id))), name)
		for range 2 { // the second time it is asked again
			got := send(t, store, underID(c.second(name), id))
			require.Equal(t, c.does, got.Transition, name)
		}
		require.Equal(t, c.code, code(send(t, store, underID(c.first(name), id))), name)
		require.Equal(t, 1, count(t, store,
			`select count(*) from rollcall.transitions where name = $1 and transition = $2 and request_id <> ''
				and ($2 <> 'Refused' or signal = 'withdraw')`, name, c.does), name)
		require.Equal(t, 3, count(t, store, `select count(*) from rollcall.transitions where name = $1`, name),
			"%s: T1 and both messages", name)
	}

	send(t, store, reconnectOf("withdraw-resume", "7"))
	require.Equal(t, runbook.CodeStillManaged, code(send(t, store, underID(managed("withdraw-resume"), "update/a"))))
	require.Equal(t, runbook.T4, send(t, store, underID(early("withdraw-resume"), "update/a")).Transition)
}

// The same of a device and of the request that it enrolled with, which has its name.
func TestARequestAndItsDeviceUnderOneRequestID(t *testing.T) {
	t.Parallel()
	store := restoredWithRequest(t, newStore(t))
	approval := approveOf("new", "alice")
	approval.RequestID = "update/ticket 4711"
	denial := denyOf("new", "bob")
	denial.RequestID = approval.RequestID
	approved, err := store.Approve(t.Context(), approval)
	require.NoError(t, err)
	require.True(t, approved.Applied)
	for range 2 {
		denied, err := store.Deny(t.Context(), denial)
		require.NoError(t, err)
		require.Equal(t, runbook.CodeAlreadyApproved, decidedCode(denied))
	}
	report := reconnectOf("new", "7")
	report.Restored = ""
	send(t, store, report)
	resume := resumeOf("new", "carol")
	resume.RequestID = approval.RequestID
	for range 2 {
		require.Equal(t, runbook.T4, send(t, store, resume).Transition)
	}
	require.Equal(t, "T1 approve, Refused deny, T3 reconnect, T4 resume", *readString(t, store,
		`select string_agg(transition || ' ' || signal, ', ' order by id) from rollcall.transitions where name = 'new'`))
}

// Two plans of a restore may be told something under the same id, too.
func TestTwoPlansAreToldUnderOneRequestID(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("web-1", "5"))
	for _, plan := range []string{"p", "q", "q"} {
		require.NoError(t, store.RecordAct(t.Context(), inventory.ActInput{
			Act: runbook.ActAbort, RestoreID: "r1", PlanID: plan, By: "alice", RequestID: "update/ticket 4711",
		}))
	}
	require.Equal(t, 2, count(t, store, `select count(*) from rollcall.transitions where signal = 'abort'`))
}

// Another message may have moved the device since the request was answered.
func TestARequestThatIsAnsweredAgainSaysWhereItsDeviceStandsByNow(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	restored(t, store, versioned("edge-1", "5"), versioned("edge-2", "5"))
	ask := func(name string) (now *inventory.Standing) {
		again := send(t, store, underID(reconnectOf(name, "7"), "signal/run/reconnect/1"))
		require.Equal(t, runbook.T3, again.Transition)
		require.Equal(t, "7", again.Reported)
		return again.Now
	}
	require.Nil(t, ask("edge-1"), "it is the first answer")
	newer := send(t, store, reconnectOf("edge-1", "8"))
	now := ask("edge-1")
	require.Equal(t, runbook.StateConflictPaused, now.State)
	require.Equal(t, "8", now.Reported)
	require.True(t, now.At.Before(newer.At), "it is paused since its first report")

	resumed := send(t, store, resumeOf("edge-1", "alice"))
	require.Equal(t, standingOf(resumed), ask("edge-1"))

	require.Nil(t, ask("edge-2"))
	openRestore(t, store, "r2")
	putAll(t, store, "r2")
	now = ask("edge-2")
	require.Equal(t, runbook.StateConflictPaused, now.State, "the roll of a newer restore is another story")
	require.Equal(t, "7", now.Reported)
}
