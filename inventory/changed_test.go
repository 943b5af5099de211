package inventory_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// What Flight Control does at a change of a device's spec, where it can render none, and at its fleet's.
const (
	fcChangesSpec = `update devices set spec = '{"os": {"image": "quay.io/fleet/web:2"}}', generation = generation + 1,
		resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcCannotRender = `update devices set service_conditions = jsonb_build_object('conditions', jsonb_build_array(
		'{"type": "DeviceMultipleOwners", "status": "False", "message": "no"}'::jsonb,
		jsonb_build_object('type', 'SpecValid', 'status', 'False', 'reason', 'Invalid', 'message', cast($2 as text)))),
		resource_version = resource_version + 1 where name = $1`
	fcRollsOut = `update devices set annotations = annotations || '{"fleet-controller/templateVersion": "t2",
		"fleet-controller/renderedTemplateVersion": "t1"}', owner = 'Fleet/web' where name = $1`
)

// renderedBefore is a device that Flight Control has rendered by its spec of a generation, before the restore.
func renderedBefore(name, version string, generation int64) device {
	d := reporting(name, version)
	d.Generation = &generation
	return d
}

// releases are what comes next for the devices that were released and not rendered.
func releases(t *testing.T, store *inventory.Store, restoreID string) (steps []string) {
	t.Helper()
	released, err := store.Releases(t.Context(), restoreID)
	require.NoError(t, err)
	for _, r := range released {
		steps = append(steps, r.Name+" "+string(r.Next))
	}
	return steps
}

func repairOf(name string) inventory.RepairInput {
	return inventory.RepairInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name}
}

func pausesReleased(t *testing.T, store *inventory.Store, name string) {
	t.Helper()
	require.NoError(t, store.PauseReleased(t.Context(), repairOf(name), inventory.ResumeID("released")))
}

func reasonOf(t *testing.T, store *inventory.Store, transition runbook.Transition) string {
	t.Helper()
	return *readString(t, store, `select reason from rollcall.transitions where transition = $1 order by id desc limit 1`,
		transition)
}

// Flight Control's worker drops the event of a spec that is changed while its device waits, and T2 queues none.
func TestASpecThatIsChangedWhileItsDeviceWaitsIsRendered(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := beside(t, open(t), renderedBefore("d", "5", 3), renderedBefore("same", "5", 3))
			play(t, store, fcChangesSpec, "d")
			require.Empty(t, releases(t, store, "r1"), "it waits")
			play(t, store, fcDecides, "d", "4", false)
			play(t, store, fcDecides, "same", "5", false)
			require.Equal(t, []string{"d repair"}, releases(t, store, "r1"))
			require.Equal(t, isAwaiting, look(t, store, "d").State, "the roll waits until it is rendered")
			require.Equal(t, runbook.T2, look(t, store, "same").Transition)

			for range 2 {
				pausesReleased(t, store, "d")
			}
			require.Equal(t, []string{"d ask"}, releases(t, store, "r1"))
			require.Equal(t, isAwaiting, look(t, store, "d").State, "this is no conflict")
			require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions where transition = 'Repaired'`))
			require.Contains(t, reasonOf(t, store, runbook.Repaired), "its spec was changed while it waited")

			play(t, store, fcResumesIt, "d", inventory.ResumeID("released"))
			require.Equal(t, []string{"d wait"}, releases(t, store, "r1"))
			play(t, store, fcRendered, "d", "6")
			play(t, store, fcStatus, "d", "6")
			require.Equal(t, []string{"d done"}, releases(t, store, "r1"))
			got := look(t, store, "d")
			require.Equal(t, []any{runbook.T2, isNormal, "4"}, []any{got.Transition, got.State, got.Reported},
				"T2 is by what it reported then")
			require.Equal(t, "Flight Control has released it", reasonOf(t, store, runbook.T2))
			require.Empty(t, releases(t, store, "r1"))
		})
	}
}

// A worker of Flight Control's that was about to render the device writes what it has rendered, paused or not.
func TestADeviceThatIsRenderedWhileItIsRepairedIsResumedAllTheSame(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), renderedBefore("d", "5", 3))
	play(t, store, fcChangesSpec, "d")
	play(t, store, fcDecides, "d", "5", false)
	pausesReleased(t, store, "d")
	play(t, store, fcRendered, "d", "6")
	require.Equal(t, []string{"d ask"}, releases(t, store, "r1"))
	require.Equal(t, isAwaiting, look(t, store, "d").State, "this is no conflict")
	play(t, store, fcResumesIt, "d", inventory.ResumeID("released"))
	require.Equal(t, runbook.T2, look(t, store, "d").Transition)
}

func TestWhatFlightControlRendersItselfIsLeftAlone(t *testing.T) {
	t.Parallel()
	const fleetAt = `insert into fleets (org_id, name, annotations, spec) values
		('00000000-0000-0000-0000-000000000000', 'web', jsonb_build_object('fleet-controller/templateVersion', $1::text),
		jsonb_build_object('rolloutPolicy', cast($2 as jsonb)))`
	for name, tc := range map[string]struct {
		change func(t *testing.T, store *inventory.Store)
		repair bool
	}{
		"rendered since its release": {func(t *testing.T, store *inventory.Store) {
			play(t, store, fcRendered, "d", "6")
		}, false},
		"its fleet's template is rolled out": {func(t *testing.T, store *inventory.Store) {
			play(t, store, fleetAt, "t2", "{}")
			play(t, store, fcRollsOut, "d")
		}, false},
		"its fleet has a disruption budget": {func(t *testing.T, store *inventory.Store) {
			play(t, store, fleetAt, "t3", `{"disruptionBudget": {"maxUnavailable": 1}}`)
			play(t, store, fcRollsOut, "d")
		}, false},
		"its fleet's template was rendered, and its labels make another spec of it": {
			func(t *testing.T, store *inventory.Store) {
				play(t, store, fleetAt, "t1", "null")
				play(t, store, fcRollsOut, "d")
				play(t, store, `update devices set annotations = annotations || '{"fleet-controller/templateVersion": "t1"}'
					where name = $1`, "d")
			}, true,
		},
		"its fleet is gone": {func(t *testing.T, store *inventory.Store) { play(t, store, fcRollsOut, "d") }, true},
		"Flight Control cannot read what it reports": {func(t *testing.T, store *inventory.Store) {
			play(t, store, fcStatus, "d", "v5")
		}, false},
		"a release that did not note the generation": {func(t *testing.T, store *inventory.Store) {
			store.DB().MustExec(`update rollcall.roll set restored_generation = null`)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := beside(t, newStore(t), renderedBefore("d", "5", 3))
			play(t, store, fcChangesSpec, "d")
			play(t, store, fcDecides, "d", "5", false)
			tc.change(t, store)
			require.Equal(t, tc.repair, slices.Contains(releases(t, store, "r1"), "d repair"))
			before := *readString(t, store, `select cast(d as text) from devices d`)
			pausesReleased(t, store, "d")
			require.Equal(t, tc.repair, before != *readString(t, store, `select cast(d as text) from devices d`))
			require.Equal(t, !tc.repair, look(t, store, "d").Transition == runbook.T2)
		})
	}
}

// A newer restore finds the device as the older one has left it: changed, and not rendered.
func TestAChangeDuringAnOlderRestoreIsNotForgotten(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), renderedBefore("d", "5", 3), renderedBefore("rendered", "5", 3),
		renderedBefore("same", "5", 3))
	play(t, store, fcChangesSpec, "d")
	play(t, store, fcChangesSpec, "rendered")
	play(t, store, fcRendered, "rendered", "6")
	for _, id := range []string{"r2", "r3"} {
		_, err := store.OpenRestore(t.Context(),
			inventory.OpenRestoreInput{ID: id, By: "alice", Mode: runbook.ModeFlightctl, Supersede: true, All: true})
		require.NoError(t, err)
		putAll(t, store, id)
	}
	for _, name := range []string{"d", "rendered", "same"} {
		play(t, store, fcDecides, name, "5", false)
	}
	require.Equal(t, []string{"d repair"}, releases(t, store, "r3"))
}

// T4 renders the device whatever was changed before, so that there is nothing to repair.
func TestAConflictOfADeviceWhoseSpecWasChangedIsOne(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), renderedBefore("d", "5", 3))
	play(t, store, fcChangesSpec, "d")
	play(t, store, fcDecides, "d", "7", true)
	require.Equal(t, runbook.T3, look(t, store, "d").Transition)
	play(t, store, fcChangesSpec, "d")
	require.Empty(t, releases(t, store, "r1"))
	decides(t, store, "alice")
	asks(t, store, inventory.ResumeID("1"))
	play(t, store, fcResumesIt, "d", inventory.ResumeID("1"))
	play(t, store, fcRendered, "d", "8")
	play(t, store, fcStatus, "d", "8")
	require.Equal(t, runbook.T4, look(t, store, "d").Transition)
	require.Equal(t, 0, count(t, store, `select count(*) from rollcall.transitions where transition = 'Repaired'`))
}

func TestAChangedSpecThatCannotBeRenderedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), renderedBefore("d", "5", 3))
	play(t, store, fcChangesSpec, "d")
	play(t, store, fcDecides, "d", "5", false)
	pausesReleased(t, store, "d")
	play(t, store, fcResumesIt, "d", inventory.ResumeID("released"))
	play(t, store, fcCannotRender, "d", "no repository acme")
	play(t, store, fcAsksLongAgo, "d")
	got := look(t, store, "d")
	require.Equal(t, runbook.T2, got.Transition)
	for _, said := range []string{
		"it has not rendered the spec that was changed", "Flight Control cannot render its spec: no repository acme",
	} {
		require.Contains(t, reasonOf(t, store, runbook.T2), said)
	}
}

// What Flight Control cannot render it does not try again by itself, so that it is asked again, ever more rarely.
func TestASpecThatCannotBeRenderedIsTriedAgainEverMoreRarely(t *testing.T) {
	t.Parallel()
	const fcAsksAgo = `update rollcall.roll set sent_at = now() - cast($2 as interval) where name = $1`
	store := conflict(t, newStore(t))
	decides(t, store, "alice")
	for repairs, minutes := range []int{1, 2, 4, 8, 16, 30, 30} {
		id, within := inventory.ResumeID(strconv.Itoa(repairs)), strconv.Itoa(minutes)+" minutes"
		asks(t, store, id)
		play(t, store, fcResumesIt, "d", id)
		play(t, store, fcCannotRender, "d", "two errors:\n  no repository "+strings.Repeat("acme ", 200))
		play(t, store, fcAsksAgo, "d", within+" -5 seconds")
		require.Equal(t, runbook.StepWait, next(t, store), within)
		play(t, store, fcAsksAgo, "d", within)
		require.Equal(t, runbook.StepRepair, next(t, store), within)
		require.NoError(t, store.Repair(t.Context(), repairOf("d")))
		require.Equal(t, runbook.StepAsk, next(t, store))
		require.Equal(t, repairs+1,
			count(t, store, `select count(*) from rollcall.transitions where transition = 'Repaired'`))
	}
	reason := reasonOf(t, store, runbook.Repaired)
	require.Contains(t, reason, "Flight Control cannot render its spec: two errors: no repository acme acme")
	require.Less(t, len(reason), 700)
	invalid, err := store.SpecInvalid(t.Context(), runbook.DefaultOrgID, "d")
	require.NoError(t, err)
	require.Contains(t, reason, invalid)

	play(t, store, fcStatus, "d", "9")
	require.Equal(t, runbook.Dropped, look(t, store, "d").Transition)
	decides(t, store, "bob")
	id := inventory.ResumeID("bob")
	asks(t, store, id)
	play(t, store, fcResumesIt, "d", id)
	play(t, store, fcAsksAgo, "d", "1 minute")
	require.Equal(t, runbook.StepRepair, next(t, store), "a new decision begins from the start")
}

func TestWhatFlightControlSaysOfASpec(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	reporting("d", "5").create(t, store)
	for conditions, want := range map[string]string{
		`null`: "", `{}`: "", `[]`: "", `{"conditions": {}}`: "", `{"conditions": ["x", 1]}`: "",
		`{"conditions": [{"type": "SpecValid", "status": "True", "message": "fine"}]}`:                       "",
		`{"conditions": [{"type": "SpecValid", "status": "False", "message": "bad"}]}`:                       "bad",
		`{"conditions": [{"type": "SpecValid", "status": "False", "reason": "Unfit", "message": ""}]}`:       "Unfit",
		`{"conditions": [{"type": "SpecValid", "status": "False"}]}`:                                         "Invalid",
		`{"conditions": [{"type": "SpecValid", "status": "False", "message": {"deep": 1}}], "another": [1]}`: `{"deep": 1}`,
	} {
		play(t, store, `update devices set service_conditions = $1`, conditions)
		got, err := store.SpecInvalid(t.Context(), runbook.DefaultOrgID, "d")
		require.NoError(t, err)
		require.Equal(t, want, got, conditions)
	}
	play(t, store, `update devices set service_conditions = null`)
	got, err := store.SpecInvalid(t.Context(), runbook.DefaultOrgID, "d")
	require.NoError(t, err)
	require.Empty(t, got)
}
