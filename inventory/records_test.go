package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

type event struct{ Reason, Type, Actor, Kind, Name, Message string }

func events(t *testing.T, store *inventory.Store) (all []event) {
	require.NoError(t, store.DB().Select(&all, `select reason, type, actor, involved_object_kind as kind,
		involved_object_name as name, message
		from events where source_component = 'rollcall' and org_id = $1 order by created_at, reason`, runbook.DefaultOrgID))
	return all
}

func TestEveryTransitionIsRecordedAndTold(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restored(t, open(t), versioned("back", "5"), versioned("ahead", "5"), versioned("lost", "5"))
			send(t, store, reconnectOf("back", "5"))
			send(t, store, reconnectOf("ahead", "7"))
			send(t, store, reconnectOf("ahead", "8"))
			send(t, store, resumeOf("ahead", "bob"))
			send(t, store, withdrawOf("lost", true))

			require.Equal(t, []event{
				{"SystemRestored", "Normal", "user:alice", "System", "database", "Restore r1: 3 devices await their reconnect"},
				{"DeviceConnected", "Normal", "service:rollcall", "Device", "back", "Reported version 5 and is back to normal"},
				{
					"DeviceConflictPaused", "Warning", "service:rollcall", "Device", "ahead",
					"Reported version 7 is newer than the restored version 5",
				},
				{
					"DeviceConflictResolved", "Normal", "user:bob", "Device", "ahead",
					`Resumed by bob: reported version 8, restored version "5", next version 9; checked on site`,
				},
				{
					"DeviceDecommissioned", "Normal", "user:alice", "Device", "lost",
					"Withdrawn from the roll call of restore r1: scrapped",
				},
			}, events(t, store))

			require.Equal(t, []inventory.TransitionRow{
				{Transition: runbook.T1, From: isNormal, To: isAwaiting, Restored: "5", Actor: "alice"},
				{Transition: runbook.T3, From: isAwaiting, To: isPaused, Restored: "5", Reported: "7"},
				{Transition: runbook.Reported, From: isPaused, To: isPaused, Restored: "5", Reported: "8"},
				{
					Transition: runbook.T4, From: isPaused, To: isNormal, Restored: "5", Reported: "8", Next: "9", Actor: "bob",
					Reason: "checked on site",
				},
			}, audit(t, store, "ahead"))
			require.Equal(t, []inventory.TransitionRow{
				{Transition: runbook.T1, From: isNormal, To: isAwaiting, Restored: "5", Actor: "alice"},
				{Transition: runbook.T5, From: isAwaiting, To: isWithdrawn, Restored: "5", Actor: "alice", Reason: "scrapped"},
			}, audit(t, store, "lost"))
			require.Equal(t, 1, count(t, store, `select count(*) from rollcall.roll where name = 'ahead' and state = 'Normal'
				and restored_version = '5' and
				reported_version = '8' and next_version = '9' and resumed_by = 'bob' and resumed_reason = 'checked on site'
				and resumed_at = since`))
		})
	}
}

// audit reads a device's entries without what differs from run to run.
func audit(t *testing.T, store *inventory.Store, name string) []inventory.TransitionRow {
	rows, err := store.Transitions(t.Context(), runbook.DefaultOrgID, name, 0)
	require.NoError(t, err)
	for i := range rows {
		require.Equal(t, "r1", rows[i].RestoreID)
		require.False(t, rows[i].At.IsZero())
		rows[i] = inventory.TransitionRow{
			Transition: rows[i].Transition, From: rows[i].From, To: rows[i].To, Restored: rows[i].Restored,
			Reported: rows[i].Reported,
			Next:     rows[i].Next, Actor: rows[i].Actor, Reason: rows[i].Reason, Code: rows[i].Code, Message: rows[i].Message,
		}
	}
	return rows
}

func TestARefusalIsRecordedOncePerRequest(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	in := inventory.RefusalInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "d", Message: runbook.SignalResume,
		By: "bob", Reason: "hurry", Version: "7", State: isAwaiting,
		Refusal: runbook.Refusal{Code: runbook.CodeNotPaused, Message: "not yet"}, RequestID: "q",
	}
	before := snapshot(t, store)
	require.NoError(t, store.RecordRefusal(t.Context(), in))
	require.NoError(t, store.RecordRefusal(t.Context(), in))
	require.Equal(t, inventory.TransitionRow{
		Transition: runbook.Refused, From: isAwaiting, To: isAwaiting, Reported: "7", Actor: "bob", Reason: "hurry",
		Code: runbook.CodeNotPaused, Message: "not yet",
	}, audit(t, store, "d")[1])
	require.Len(t, audit(t, store, "d"), 2)
	require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions where signal = 'resume'`))
	after := snapshot(t, store)
	after.Transitions = before.Transitions
	require.Equal(t, before, after)
}

func TestARefusedResumeKeepsWhoAskedAndWhy(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	got := send(t, store, resumeOf("d", "bob"))
	require.Equal(t, runbook.CodeNotPaused, code(got))
	require.Equal(t, inventory.TransitionRow{
		Transition: runbook.Refused, From: isAwaiting, To: isAwaiting, Restored: "5", Actor: "bob", Reason: "checked on site",
		Code: runbook.CodeNotPaused, Message: got.Refusal.Message,
	}, audit(t, store, "d")[1])

	unnamed := resumeOf("d", " ")
	require.Equal(t, runbook.CodeInvalidRequest, code(send(t, store, unnamed)))
}

func TestTheAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	for _, query := range []string{
		`update rollcall.transitions set actor = 'mallory'`, `delete from rollcall.transitions`,
		`truncate rollcall.transitions`,
	} {
		_, err := store.DB().Exec(query)
		require.ErrorContains(t, err, "append-only", query)
	}
	require.Equal(t, 1, transitions(t, store))
}

// An answer that another kind of message got is never taken for this one's, even where both go by one id.
func TestARequestIDIsOfOneKindOfMessage(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	refused, report := withdrawOf("d", false), reconnectOf("d", "5")
	report.RequestID = refused.RequestID
	require.Equal(t, runbook.CodeStillManaged, code(send(t, store, refused)))
	require.Equal(t, runbook.T2, send(t, store, report).Transition)
	require.Equal(t, runbook.CodeStillManaged, code(send(t, store, refused)))
}

// A worker of an earlier release has written a decision under the update's id alone, and is killed before it answers.
func TestADecisionOfAnEarlierReleaseIsFoundAgain(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("d", "5"))
	send(t, store, reconnectOf("d", "7"))
	first := resumeOf("d", "alice")
	again := first
	again.RequestID = "update/" + first.RequestID
	require.True(t, send(t, store, first).Applied)
	require.True(t, send(t, store, again).Applied)
}
