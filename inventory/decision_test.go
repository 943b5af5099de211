package inventory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// What Flight Control does after a resume, and what the device says then.
const (
	fcResumesIt = `with told as (
			insert into events (org_id, name, reason, source_component, involved_object_kind, involved_object_name, annotations,
			created_at)
			select org_id, name || cast($2 as text), 'DeviceConflictResolved', 'flightctl-api', 'Device', name,
			jsonb_build_object('event-controller/requestID', cast($2 as text)), now()
			from devices where name = $1 and $2 <> '')
		update devices set annotations = annotations - 'device-controller/conflictPaused' -
		'device-controller/renderedSpecHash', resource_version = resource_version + 1 where name = $1`
	fcAsksLongAgo = `update rollcall.roll set sent_at = now() - interval '2 minutes' where name = $1`
)

// conflict is a restore beside Flight Control with a device d that it has paused, as it runs 7 and was restored at 5.
func conflict(t *testing.T, store *inventory.Store) *inventory.Store {
	t.Helper()
	beside(t, store, reporting("d", "5"))
	play(t, store, fcDecides, "d", "7", true)
	require.Equal(t, runbook.T3, look(t, store, "d").Transition)
	return store
}

func decides(t *testing.T, store *inventory.Store, by string) inventory.Transitioned {
	t.Helper()
	got, err := store.Resume(t.Context(), resumeOf("d", by))
	require.NoError(t, err)
	return got
}

func next(t *testing.T, store *inventory.Store) runbook.DecisionStep {
	t.Helper()
	decided, err := store.Decisions(t.Context(), "r1")
	require.NoError(t, err)
	if len(decided) == 0 {
		return ""
	}
	require.Equal(t, "d", decided[0].Name)
	return decided[0].Next
}

func asks(t *testing.T, store *inventory.Store, id string) []string {
	t.Helper()
	asked, err := store.Asking(t.Context(), "r1", runbook.DefaultOrgID, []string{"d"}, id)
	require.NoError(t, err)
	return asked
}

func TestADecisionIsRecordedBeforeFlightControlIsAsked(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := conflict(t, open(t))
			device := *readString(t, store, `select cast(d as text) from devices d`)
			in := resumeOf("d", "alice")
			got, err := store.Resume(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, []any{true, runbook.Decided, isPaused, "alice", "7", "8"},
				[]any{got.Applied, got.Transition, got.State, got.By, got.Reported, got.Next})
			require.Equal(t, device, *readString(t, store, `select cast(d as text) from devices d`),
				"the device is Flight Control's to write")
			again, err := store.Resume(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, runbook.Decided, again.Transition, "the same request is the same decision")
			second := decides(t, store, "bob")
			require.Equal(t, runbook.CodeAlreadyResumed, code(second))
			require.Equal(t, "alice", second.By)

			require.Equal(t, runbook.StepAsk, next(t, store))
			id := inventory.ResumeID("1")
			require.Equal(t, []string{"d"}, asks(t, store, id))
			require.Equal(t, runbook.StepWait, next(t, store), "it has been asked")
			play(t, store, fcResumesIt, "d", id)
			require.Empty(t, sighted(t, store, time.Time{}), "no hand but ours")
			require.Equal(t, runbook.StepWait, next(t, store))
			require.False(t, look(t, store, "d").Applied, "it has to be rendered first")
			play(t, store, fcRendered, "d", "8")
			require.Equal(t, runbook.StepWait, next(t, store), "and to be reported")
			play(t, store, fcStatus, "d", "8")
			require.Equal(t, runbook.StepDone, next(t, store))
			done := look(t, store, "d")
			require.Equal(t, []any{runbook.T4, isNormal, "alice", "checked on site", "8"},
				[]any{done.Transition, done.State, done.By, done.Reason, done.Next})
			require.Empty(t, next(t, store))
			require.Equal(t, 1, count(t, store,
				`select count(*) from rollcall.transitions where transition = 'Decided' and reported_version = '7'
					and actor = 'alice'`),
				"the version that the human saw stays in the audit")
		})
	}
}

func TestADeviceThatCouldNotBeAskedForIsDueAtOnce(t *testing.T) {
	t.Parallel()
	store := conflict(t, newStore(t))
	decides(t, store, "alice")
	id, names := inventory.ResumeID("1"), []string{"d"}
	require.Equal(t, names, asks(t, store, id))
	require.NoError(t, store.NotAsked(t.Context(), "r1", runbook.DefaultOrgID, names, inventory.ResumeID("0")))
	require.Equal(t, runbook.StepWait, next(t, store), "another call is not this one")
	require.NoError(t, store.NotAsked(t.Context(), "r1", runbook.DefaultOrgID, names, id))
	require.Equal(t, runbook.StepAsk, next(t, store))
	require.Equal(t, names, asks(t, store, inventory.ResumeID("2")))
}

func TestADecisionThatDoesNotCountAnyMoreIsDropped(t *testing.T) {
	t.Parallel()
	store := conflict(t, newStore(t))
	decides(t, store, "alice")
	play(t, store, fcStatus, "d", "9")
	require.Empty(t, asks(t, store, inventory.ResumeID("1")), "the human has not seen this version")
	require.Equal(t, runbook.StepVoid, next(t, store))
	dropped := look(t, store, "d")
	require.Equal(t, []any{runbook.Dropped, isPaused, "9"}, []any{dropped.Transition, dropped.State, dropped.Reported})
	require.Empty(t, next(t, store))
	require.Equal(t, runbook.Decided, decides(t, store, "bob").Transition)
	require.Equal(t, []string{"d"}, asks(t, store, inventory.ResumeID("2")))
}

func TestNothingIsAskedForARestoreThatIsOver(t *testing.T) {
	t.Parallel()
	store := conflict(t, newStore(t))
	decides(t, store, "alice")
	_, err := store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	require.Empty(t, next(t, store))
	require.Empty(t, asks(t, store, inventory.ResumeID("1")))
}

func TestAResumeOfSomebodyElsesIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"before we asked": false, "while we asked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := conflict(t, newStore(t))
			decides(t, store, "alice")
			if asked {
				asks(t, store, inventory.ResumeID("1"))
			}
			play(t, store, fcResumesIt, "d", "someone-else")
			require.Equal(t, runbook.StepTheirs, next(t, store))
			done := look(t, store, "d")
			require.Equal(t, []any{runbook.T4, inventory.ActorFlightctl}, []any{done.Transition, done.By})
		})
	}
	t.Run("with no decision of ours", func(t *testing.T) {
		t.Parallel()
		store := conflict(t, newStore(t))
		play(t, store, fcResumesIt, "d", "someone-else")
		require.Equal(t, runbook.CodeAlreadyResumed, code(decides(t, store, "bob")))
		require.Equal(t, inventory.ActorFlightctl, look(t, store, "d").By)
	})
}

// Flight Control died between its statement and its events: there is no event, and nothing renders the device.
func TestAResumeThatWasNotRenderedIsRepaired(t *testing.T) {
	t.Parallel()
	store := conflict(t, newStore(t))
	decides(t, store, "alice")
	asks(t, store, inventory.ResumeID("1"))
	play(t, store, fcResumesIt, "d", "")
	repair := inventory.RepairInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "d"}
	require.NoError(t, store.Repair(t.Context(), repair))
	require.Equal(t, isNormal, deviceStateOf(t, store), "it may be rendered yet")
	play(t, store, fcAsksLongAgo, "d")
	require.Equal(t, runbook.StepRepair, next(t, store))
	require.NoError(t, store.Repair(t.Context(), repair))
	require.NoError(t, store.Repair(t.Context(), repair))
	require.Equal(t, isPaused, deviceStateOf(t, store))
	require.Equal(t, runbook.StepAsk, next(t, store))
	require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions where transition = 'Repaired'`))
	asks(t, store, inventory.ResumeID("2"))
	play(t, store, fcResumesIt, "d", inventory.ResumeID("2"))
	play(t, store, fcRendered, "d", "8")
	play(t, store, fcStatus, "d", "8")
	require.Equal(t, "alice", look(t, store, "d").By)
}

func TestADeviceThatIsRenderedBelowWhatItRunsIsPausedAgain(t *testing.T) {
	t.Parallel()
	store := conflict(t, newStore(t))
	decides(t, store, "alice")
	asks(t, store, inventory.ResumeID("1"))
	play(t, store, fcResumesIt, "d", inventory.ResumeID("1"))
	play(t, store, fcRendered, "d", "6")
	require.Equal(t, runbook.StepBelow, next(t, store))
	below := look(t, store, "d")
	require.Equal(t, []any{runbook.Dropped, isPaused}, []any{below.Transition, below.State})
	require.Contains(t, below.Reason, "rendered version 6, and the device runs 7")
	require.Equal(t, isPaused, deviceStateOf(t, store))
	require.Equal(t, 1, count(t, store,
		`select count(*) from events where type = 'Warning' and source_component = 'rollcall'
			and message like '%ignores it%'`))
	require.Equal(t, runbook.Decided, decides(t, store, "bob").Transition)
	asks(t, store, inventory.ResumeID("2"))
	play(t, store, fcResumesIt, "d", inventory.ResumeID("2"))
	require.Equal(t, runbook.StepWait, next(t, store), "what it was rendered as before is no answer to this decision")
	play(t, store, fcRendered, "d", "8")
	play(t, store, fcStatus, "d", "8")
	require.Equal(t, "bob", look(t, store, "d").By)
}

// Flight Control would render a device below what it runs of which it does not know that.
func TestNoDecisionWhileItIsNotKnownWhatTheDeviceRuns(t *testing.T) {
	t.Parallel()
	d := versioned("d", "5")
	d.Status, d.ResourceVersion = ptr(`{"summary": {"status": "Online"}}`), ptr(int64(1))
	store := beside(t, newStore(t), d)
	play(t, store, fcDecides, "d", "7", true)
	look(t, store, "d")
	require.Equal(t, runbook.CodeVersionUnknown, code(decides(t, store, "alice")))
	play(t, store, fcStatus, "d", "7")
	look(t, store, "d")
	require.Equal(t, runbook.Decided, decides(t, store, "alice").Transition)
}

func deviceStateOf(t *testing.T, store *inventory.Store) runbook.State {
	t.Helper()
	return runbook.State(*readString(t, store, `select rollcall.device_state(annotations) from devices`))
}

// Flight Control counts on from the version that it rendered last, and renders nothing where it cannot read that one.
func TestAResumeThatFlightControlCouldNotRenderIsRefused(t *testing.T) {
	t.Parallel()
	store := conflict(t, newStore(t))
	play(t, store, `update devices set annotations = annotations || '{"device-controller/renderedVersion": "v14"}'
		where name = $1`, "d")
	got := decides(t, store, "alice")
	require.Equal(t, runbook.CodeInvalidVersion, code(got))
	require.Contains(t, got.Refusal.Message, "flightctl delete device/d")
	require.Empty(t, next(t, store), "nothing is asked")
	play(t, store, `update devices set annotations = annotations || '{"device-controller/renderedVersion": "+014"}'
		where name = $1`, "d")
	require.True(t, decides(t, store, "alice").Applied, "it reads this as 14")
}

// Flight Control renders nothing at T2, and so never a device whose request was approved while its restore waited.
func TestADeviceThatIsNeverRenderedIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			d := versioned("d", "5")
			d.Annotations = ptr("{}")
			store := beside(t, open(t), d, reporting("other", "5"))
			steps := func() (steps []runbook.DecisionStep) {
				released, err := store.Releases(t.Context(), "r1")
				require.NoError(t, err)
				for _, r := range released {
					require.Equal(t, "d", r.Name)
					steps = append(steps, r.Next)
				}
				return steps
			}
			require.Empty(t, steps())
			play(t, store, fcDecides, "d", "0", false)
			play(t, store, fcDecides, "other", "5", false)
			require.Equal(t, []runbook.DecisionStep{runbook.StepRepair}, steps())
			require.Equal(t, isAwaiting, look(t, store, "d").State, "the roll waits until it is rendered")

			repair := inventory.RepairInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "d"}
			for range 2 {
				require.NoError(t, store.PauseReleased(t.Context(), repair, inventory.ResumeID("released")))
			}
			require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions where transition = 'Repaired'`))
			require.Equal(t, 1, count(t, store,
				`select count(*) from devices where name = 'd' and rollcall.device_state(annotations) = 'ConflictPaused'`))
			require.Equal(t, []runbook.DecisionStep{runbook.StepAsk}, steps())
			require.Equal(t, isAwaiting, look(t, store, "d").State, "this is no conflict")
			require.Equal(t, runbook.CodeNotPaused, code(decides(t, store, "alice")), "and nothing for a human to decide")

			play(t, store, fcResumesIt, "d", "")
			require.Equal(t, []runbook.DecisionStep{runbook.StepWait}, steps())
			play(t, store, fcRendered, "d", "1")
			require.Equal(t, []runbook.DecisionStep{runbook.StepDone}, steps())
			require.Equal(t, runbook.T2, look(t, store, "d").Transition)
			require.Empty(t, steps())
		})
	}
}

func TestADeviceThatCannotBeRenderedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	d := versioned("d", "5")
	d.Annotations = ptr("{}")
	store := beside(t, newStore(t), d)
	play(t, store, fcDecides, "d", "0", false)
	repair := inventory.RepairInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "d"}
	require.NoError(t, store.PauseReleased(t.Context(), repair, inventory.ResumeID("released")))
	play(t, store, fcResumesIt, "d", "")
	play(t, store, fcAsksLongAgo, "d")
	got := look(t, store, "d")
	require.Equal(t, runbook.T2, got.Transition)
	require.Contains(t, got.Reason, "it has not rendered it")
}

// One that runs more than nothing is paused by Flight Control itself, and is a human's to decide about.
func TestAConflictOfADeviceThatWasNeverRenderedIsOne(t *testing.T) {
	t.Parallel()
	d := versioned("d", "5")
	d.Annotations = ptr("{}")
	store := beside(t, newStore(t), d)
	play(t, store, fcDecides, "d", "7", true)
	require.Equal(t, runbook.T3, look(t, store, "d").Transition)
	released, err := store.Releases(t.Context(), "r1")
	require.NoError(t, err)
	require.Empty(t, released)
}
