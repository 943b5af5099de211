package inventory_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Flight Control's own statement at a poll, for T2 and T3: it does not set updated_at, and writes the version only
// where the status has a config.
const (
	fcDecides = `update devices set
		annotations = (annotations - 'device-controller/awaitingReconnect') || case when $3 then
		'{"device-controller/conflictPaused": "true"}' else '{}'::jsonb end,
		status = jsonb_set(jsonb_set(status, '{summary}', '{"status": "Online"}'), '{config,renderedVersion}',
		to_jsonb($2::text), true),
		resource_version = resource_version + 1 where name = $1`
	fcStatus = `update devices set status = status || jsonb_build_object('config', jsonb_build_object('renderedVersion',
		$2::text)),
		resource_version = resource_version + 1, updated_at = now() where name = $1`
)

// beside is a restore r1 in the mode flightctl with this fleet on its roll.
func beside(t *testing.T, store *inventory.Store, fleet ...device) *inventory.Store {
	t.Helper()
	for _, d := range fleet {
		d.create(t, store)
	}
	openBeside(t, store, false)
	putAll(t, store, "r1")
	return store
}

func openBeside(t *testing.T, store *inventory.Store, all bool) inventory.OpenRestoreResult {
	t.Helper()
	opened, err := store.OpenRestore(t.Context(),
		inventory.OpenRestoreInput{ID: "r1", By: "alice", Mode: runbook.ModeFlightctl, All: all})
	require.NoError(t, err)
	return opened
}

func TestTheModeIsTheRestores(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	require.Equal(t, runbook.ModeFlightctl, openBeside(t, store, false).Mode)
	again, err := store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1", Mode: runbook.ModeStandalone})
	require.NoError(t, err)
	require.Equal(t, runbook.ModeFlightctl, again.Mode, "it does not change")
	status, err := store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, runbook.ModeFlightctl, status.Mode)
	id, err := store.FlightctlRestore(t.Context(), runbook.DefaultOrgID)
	require.NoError(t, err)
	require.Equal(t, "r1", id)
	_, err = store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	id, err = store.FlightctlRestore(t.Context(), runbook.DefaultOrgID)
	require.NoError(t, err)
	require.Equal(t, "r1", id, "Flight Control goes on to answer the agents")
	versioned("d", "5").create(t, store)
	require.True(t, agentDevice(t, store, "d").Beside)
	_, err = store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r2", Supersede: true})
	require.NoError(t, err)
	id, err = store.FlightctlRestore(t.Context(), runbook.DefaultOrgID)
	require.NoError(t, err)
	require.Empty(t, id, "our gateway answers them from now on")
	require.False(t, agentDevice(t, store, "d").Beside)
}

// Flight Control decides at the poll: the roll follows the annotations, and believes the status only then.
func TestTheRollFollowsFlightControl(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			unconfigured := versioned("unconfigured", "5")
			unconfigured.Status = ptr(`{"summary": {"status": "Online"}}`)
			unconfigured.ResourceVersion = ptr(int64(1))
			store := beside(t, open(t), reporting("back", "5"), reporting("ahead", "5"), reporting("odd", "5"),
				reporting("row", "5"), unconfigured)
			since := time.Now().Add(time.Hour)
			play(t, store, fcStatus, "row", "5")
			require.Empty(t, sighted(t, store, since), "a row is no report")

			play(t, store, fcDecides, "back", "+5", false)
			play(t, store, fcDecides, "ahead", "7", true)
			play(t, store, fcDecides, "odd", "v9", false)
			play(t, store, fcDecides, "unconfigured", "7", true)
			require.Equal(t, []string{"ahead look 7", "back look +5", "odd look v9", "unconfigured look "},
				sighted(t, store, since), "though updated_at is as old as before")

			back, ahead, odd, unknown := look(t, store, "back"), look(t, store, "ahead"), look(t, store, "odd"),
				look(t, store, "unconfigured")
			require.Equal(t, []any{runbook.T2, "5"}, []any{back.Transition, back.Reported})
			require.Equal(t, []any{runbook.T3, "7"}, []any{ahead.Transition, ahead.Reported})
			require.Equal(t, []any{runbook.T2, "0"}, []any{odd.Transition, odd.Reported})
			require.Contains(t, odd.Reason, `could not read the reported version "v9"`)
			require.Equal(t, 1, count(t, store,
				`select count(*) from events where reason = 'DeviceVersionUnreadable' and type = 'Warning'
					and involved_object_name = 'odd'`))
			require.Equal(t, []any{runbook.T3, ""}, []any{unknown.Transition, unknown.Reported}, "its status says nothing yet")
			require.Empty(t, sighted(t, store, time.Time{}))

			play(t, store, fcStatus, "unconfigured", "7")
			play(t, store, fcStatus, "ahead", "8")
			require.Equal(t, []string{"ahead look 8", "unconfigured look 7"}, sighted(t, store, time.Time{}))
			again := look(t, store, "ahead")
			require.Equal(t, []any{runbook.Reported, "8"}, []any{again.Transition, again.Reported})
			require.Equal(t, "7", look(t, store, "unconfigured").Reported)
			require.Empty(t, sighted(t, store, time.Time{}))
		})
	}
}

func TestAHumansReconnectIsRefusedBesideFlightControl(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("d", "5"))
	got, err := store.Reconnect(t.Context(), reconnectOf("d", "5"))
	require.NoError(t, err)
	require.Equal(t, runbook.CodeWrongMode, code(got))
	require.Contains(t, got.Refusal.Message, "withdraw the device")
	require.Equal(t, isAwaiting, stateOf(t, store, "d"))
}

// Flight Control has paused the device, and the roll has yet to follow. A decision that came in between was recorded
// for a version that no one knew, and lost when the roll followed.
func TestADecisionComesAfterTheRollHasFollowedFlightControl(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("d", "5"))
	play(t, store, fcDecides, "d", "7", true)
	early, err := store.Resume(t.Context(), inventory.ResumeInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "d", By: "alice", RequestID: "early",
	})
	require.NoError(t, err)
	require.Equal(t, runbook.CodeNotPaused, code(early))
	reported, err := store.Reconnect(t.Context(), reconnectOf("d", "5"))
	require.NoError(t, err)
	require.Equal(t, []any{runbook.CodeWrongMode, runbook.StateAwaitingReconnect}, []any{code(reported), reported.State})
	followed := look(t, store, "d")
	require.Equal(t, []any{runbook.T3, "7"}, []any{followed.Transition, followed.Reported})
	decided, err := store.Resume(t.Context(), inventory.ResumeInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "d", By: "alice", RequestID: "later",
	})
	require.NoError(t, err)
	require.Equal(t, []any{runbook.Decided, "8"}, []any{decided.Transition, decided.Next})
}

// After flightctl-restore the devices that wait are called, and those that are back already are not, unless all are. An
// event that is older than an earlier restore is that one's: the backup holds both, or this is a second roll call.
func TestTheRollAfterFlightctlRestore(t *testing.T) {
	t.Parallel()
	const restoredAt = `insert into events (org_id, name, reason, source_component, created_at)
		values ('00000000-0000-0000-0000-000000000000', 'e1', 'SystemRestored', 'flightctl-restore',
		now() - cast($1 as interval))`
	for name, tc := range map[string]struct {
		before string
		// earlier is how long ago another restore began; empty is none.
		earlier string
		all     bool
		want    int
	}{
		"some are back":                    {before: "1 hour", want: 3},
		"all are called":                   {before: "1 hour", all: true, want: 4},
		"an event that the backup holds":   {before: "3 days", want: 4},
		"an event of an earlier roll call": {before: "4 hours", earlier: "3 hours", want: 4},
		"prepared after an earlier one":    {before: "1 hour", earlier: "3 hours", want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			for _, d := range []string{"back", "waits", "paused", "unheard"} {
				reporting(d, "5").create(t, store)
			}
			play(t, store, restoredAt, tc.before)
			if tc.earlier != "" {
				play(t, store, `insert into rollcall.restores (id, opened_by, state, mode, started_at)
					values ('r0', 'alice', 'Completed', 'flightctl', now() - cast($1 as interval))`, tc.earlier)
			}
			play(t, store, `update devices set annotations = annotations ||
				'{"device-controller/awaitingReconnect": "true", "device-controller/conflictPaused": "true"}'
				where name = $1`, "waits")
			play(t, store, `update devices set annotations = annotations || '{"device-controller/conflictPaused": "true"}'
				where name = $1`, "paused")
			play(t, store, `update device_timestamps set last_seen = now() where name in ($1, 'paused')`, "back")
			preview, err := store.PreviewRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1"})
			require.NoError(t, err)
			openBeside(t, store, tc.all)
			putAll(t, store, "r1")
			require.Equal(t, tc.want, count(t, store, `select count(*) from rollcall.roll`))
			require.Zero(t, count(t, store,
				`select count(*) from devices where annotations ? 'device-controller/conflictPaused'`),
				"the new comparison decides")
			page, err := store.Awaited(t.Context(), "r1", 1)
			require.NoError(t, err)
			require.Len(t, page, tc.want-1)

			prepared, err := store.Preparation(t.Context(), "r1")
			require.NoError(t, err)
			if tc.all || tc.want == 4 {
				require.Nil(t, prepared)
			} else {
				require.EqualValues(t, 1, prepared.Back)
				require.Equal(t, prepared, preview.Prepared)
			}
		})
	}
}

// What Flight Control's approval writes, in its order.
const (
	fcMakesDevice = `insert into devices (org_id, name, annotations, status, generation, resource_version, created_at,
		updated_at)
		select org_id, name, jsonb_build_object('device-controller/awaitingReconnect', 'true'), '{}', 1, 1, now(), now()
		from enrollment_requests where name = $1`
	fcApproves = `update enrollment_requests set status =
		'{"approval": {"approved": true, "approvedBy": "rollcall"}, "certificate": "x"}' where name = $1`
)

func TestFlightControlApproves(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (*inventory.Store, func() (inventory.Decided, bool)) {
		store := beside(t, newStore(t), reporting("web-1", "5"))
		_, err := store.FinishRoll(t.Context(), "r1")
		require.NoError(t, err)
		enrollmentRequest{Name: "late", Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
		in := inventory.ApproveInput{OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u1"}
		return store, func() (inventory.Decided, bool) {
			got, ask, err := store.AskApproval(t.Context(), in)
			require.NoError(t, err)
			return got, ask
		}
	}
	t.Run("and the device joins the roll", func(t *testing.T) {
		t.Parallel()
		store, approve := begin(t)
		_, ask := approve()
		require.True(t, ask)
		_, ask = approve()
		require.True(t, ask, "it was not answered, and nothing was done")
		require.Zero(t, count(t, store, `select count(*) from devices where name = 'late'`),
			"the device is Flight Control's to make")
		play(t, store, fcMakesDevice, "late")
		_, _, err := store.AskApproval(t.Context(),
			inventory.ApproveInput{OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u1"})
		require.ErrorContains(t, err, "not yet stored", "it may be under way")
		play(t, store, fcApproves, "late")
		for range 2 {
			got, ask := approve()
			require.False(t, ask)
			require.Equal(t, []any{true, runbook.EnrollmentApproved, isAwaiting, "r1", "alice"},
				[]any{got.Applied, got.State, got.Device, got.RestoreID, got.By})
		}
		require.Equal(t, 1, count(t, store,
			`select count(*) from rollcall.roll where name = 'late' and state = 'AwaitingReconnect'`))
		require.Equal(t, 2, count(t, store, `select total from rollcall.restores`))
	})
	t.Run("also where its agent was faster than our second look", func(t *testing.T) {
		t.Parallel()
		store, approve := begin(t)
		approve()
		play(t, store, fcMakesDevice, "late")
		play(t, store, fcApproves, "late")
		play(t, store, fcReported, "late", "8")
		play(t, store, fcReleased, "late")
		got, _ := approve()
		require.Equal(t, []any{true, isAwaiting, "r1"}, []any{got.Applied, got.Device, got.RestoreID})
		released, err := store.Releases(t.Context(), "r1")
		require.NoError(t, err)
		require.Equal(t, []inventory.DecidedDevice{
			{OrgID: runbook.DefaultOrgID, Name: "late", Next: runbook.StepRepair},
		}, released, "it is rendered by a repair")
	})
	t.Run("or has died in the middle", func(t *testing.T) {
		t.Parallel()
		store, approve := begin(t)
		approve()
		play(t, store, fcMakesDevice, "late")
		store.DB().MustExec(`alter table rollcall.transitions disable trigger user`)
		store.DB().MustExec(`update rollcall.transitions set at = now() - interval '1 hour'`)
		_, _, err := store.AskApproval(t.Context(),
			inventory.ApproveInput{OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u1"})
		require.ErrorContains(t, err, "not yet stored", "its server may wait for its key-value store")
		store.DB().MustExec(`update devices set created_at = now() - interval '5 minutes' where name = 'late'`)
		got, ask := approve()
		require.False(t, ask)
		require.Equal(t, runbook.CodeDeviceExists, got.Refusal.Code)
		require.Contains(t, got.Refusal.Message, "has no certificate: delete it there")
	})
	t.Run("what its server cannot sign it is not asked to", func(t *testing.T) {
		t.Parallel()
		store, _ := begin(t)
		for name, csr := range map[string]string{
			"other": csrOf(t, "another", newKey(t)), "odd": "x", "tpm": tpmRequest, "rsa": rsaRequest(t, "rsa"),
		} {
			spec, err := json.Marshal(map[string]string{"csr": csr})
			require.NoError(t, err)
			enrollmentRequest{Name: name, Spec: ptr(string(spec))}.create(t, store)
			got, ask, err := store.AskApproval(t.Context(), approveOf(name, "alice"))
			require.NoError(t, err)
			signs := name == "tpm" || name == "rsa"
			require.Equal(t, signs, ask, name)
			if !signs {
				require.Equal(t, runbook.CodeUnsignable, decidedCode(got), name)
			}
			found, err := store.Enrollments(t.Context(), inventory.Query{Names: []string{name}})
			require.NoError(t, err)
			require.Equal(t, signs, found[0].Unsignable == nil, name)
		}
	})
	t.Run("or another user has approved it meanwhile", func(t *testing.T) {
		t.Parallel()
		store, approve := begin(t)
		_, ask := approve()
		require.True(t, ask)
		play(t, store, fcMakesDevice, "late")
		play(t, store, fcApproves, "late")
		in := inventory.ApproveInput{OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u1", User: "olga"}
		got, ask, err := store.AskApproval(t.Context(), in)
		require.NoError(t, err)
		require.False(t, ask)
		require.Equal(t, runbook.CodeAlreadyApproved, got.Refusal.Code)
		require.Contains(t, got.Refusal.Message, "by rollcall")
	})
	t.Run("a request that someone else has approved is not ours", func(t *testing.T) {
		t.Parallel()
		store, approve := begin(t)
		play(t, store, fcMakesDevice, "late")
		play(t, store, fcApproves, "late")
		got, ask := approve()
		require.False(t, ask)
		require.NotNil(t, got.Refusal)
	})
}

// What Flight Control writes moves resource_version, and not always updated_at by a clock that we know.
func TestTheWatchFollowsResourceVersion(t *testing.T) {
	t.Parallel()
	const scraps = `update devices set status = status || '{"lifecycle": {"status": "Decommissioning"}}',
		resource_version = resource_version + 1, updated_at = '2020-01-01' where name = $1`
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := beside(t, open(t), reporting("scrapped", "5"), reporting("paused", "5"), reporting("labelled", "5"))
			later := time.Now().Add(time.Hour)
			require.Empty(t, sighted(t, store, later))
			play(t, store, fcDecides, "paused", "7", true)
			require.Equal(t, runbook.T3, look(t, store, "paused").Transition)
			require.Empty(t, sighted(t, store, later))

			play(t, store, scraps, "scrapped")
			play(t, store, `update devices set status = jsonb_set(status, '{config,renderedVersion}', '"8"'),
				resource_version = resource_version + 1 where name = $1`, "paused")
			play(t, store, `update devices set labels = '{"a": "b"}', resource_version = resource_version + 1 where name = $1`,
				"labelled")
			for range 2 {
				require.Equal(t, []string{"paused look 8", "scrapped look 5"}, sighted(t, store, later),
					"until the roll has followed")
			}
			require.Equal(t, 1, count(t, store,
				`select count(*) from rollcall.roll r join devices d using (org_id, name)
					where r.seen_version = d.resource_version`),
				"the third is noted as seen")
			require.Equal(t, runbook.Reported, look(t, store, "paused").Transition)
			require.Equal(t, runbook.T5, look(t, store, "scrapped").Transition)
			require.Empty(t, sighted(t, store, later))
		})
	}
}

func appearedIn(t *testing.T, store *inventory.Store) (names []string) {
	t.Helper()
	found, err := store.Appeared(t.Context(), "r1")
	require.NoError(t, err)
	for _, a := range found {
		names = append(names, a.Name)
	}
	return names
}

// A device whose request was approved in Flight Control itself waits as the others do, so that the restore waits for
// it.
func TestADeviceThatAppearsJoinsTheRoll(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := beside(t, open(t), reporting("web-1", "5"))
			enrollmentRequest{Name: "late", Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
			require.Empty(t, appearedIn(t, store))
			_, err := store.FinishRoll(t.Context(), "r1")
			require.NoError(t, err)
			play(t, store, fcMakesDevice, "late")
			require.Empty(t, appearedIn(t, store), "its approval is not stored")
			play(t, store, fcApproves, "late")
			require.Equal(t, []string{"late"}, appearedIn(t, store))

			late := inventory.Appeared{OrgID: runbook.DefaultOrgID, Name: "late"}
			for range 2 {
				entry, err := store.JoinAppeared(t.Context(), "r1", late)
				require.NoError(t, err)
				require.Equal(t, []any{isAwaiting, runbook.ModeFlightctl, true}, []any{entry.State, entry.Mode, entry.Batch != nil})
			}
			require.Empty(t, appearedIn(t, store))
			require.Equal(t, 2, count(t, store, `select total from rollcall.restores`))
			require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions where name = 'late'
				and transition = 'T1'
				and actor = 'service:flightctl' and reason = 'it was approved in Flight Control by rollcall'`))

			// It leaves, is deleted, and comes again.
			play(t, store, fcDecides, "late", "0", false)
			play(t, store, `update devices set annotations = annotations || '{"device-controller/renderedVersion": "1"}'
				where name = $1`, "late")
			require.Equal(t, runbook.T2, look(t, store, "late").Transition)
			play(t, store, `delete from devices where name = $1`, "late")
			require.Empty(t, appearedIn(t, store))
			play(t, store, fcMakesDevice, "late")
			require.Equal(t, []string{"late"}, appearedIn(t, store))
			entry, err := store.JoinAppeared(t.Context(), "r1", late)
			require.NoError(t, err)
			require.Equal(t, isAwaiting, entry.State)
			require.Equal(t, 2, count(t, store, `select total from rollcall.restores`), "it is counted once")
		})
	}
}

func TestWhoDoesNotJoinTheRoll(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("web-1", "5"))
	_, err := store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	for name, after := range map[string]string{
		"fresh":    `update devices set annotations = '{}' where name = $1`,
		"scrapped": `update devices set status = '{"lifecycle": {"status": "Decommissioning"}}' where name = $1`,
		"deleted":  `update devices set deleted_at = now() where name = $1`,
		"ours": `insert into rollcall.transitions (restore_id, org_id, name, transition, signal, actor, request_id)
			select 'r1', org_id, name, 'Decided', 'approve', 'alice', 'u1/asked' from devices where name = $1`,
	} {
		enrollmentRequest{Name: name}.create(t, store)
		play(t, store, fcMakesDevice, name)
		play(t, store, fcApproves, name)
		play(t, store, after, name)
	}
	require.Empty(t, appearedIn(t, store))
	_, err = store.CloseRestore(t.Context(), inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	play(t, store, `update devices set annotations = '{"device-controller/awaitingReconnect": "true"}' where name = $1`,
		"fresh")
	require.Empty(t, appearedIn(t, store), "the restore has ended")
	entry, err := store.JoinAppeared(t.Context(), "r1", inventory.Appeared{OrgID: runbook.DefaultOrgID, Name: "fresh"})
	require.NoError(t, err)
	require.Nil(t, entry)
}

func TestADenialThatDeletesTheRequest(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for _, name := range []string{"alone", "denied", "half"} {
		enrollmentRequest{Name: name}.create(t, store)
	}
	play(t, store, fcMakesDevice, "half")
	deny := func(in inventory.DenyInput) inventory.Decided {
		in.OrgID, in.By = runbook.DefaultOrgID, "alice"
		got, err := store.Deny(t.Context(), in)
		require.NoError(t, err)
		return got
	}
	refused := deny(inventory.DenyInput{Name: "alone", Delete: true, WrongMode: true})
	require.Equal(t, runbook.CodeWrongMode, refused.Refusal.Code)
	require.Contains(t, refused.Refusal.Message, "deny it without --delete")
	require.True(t, deny(inventory.DenyInput{Name: "alone", Delete: true}).Applied)
	require.True(t, deny(inventory.DenyInput{Name: "denied"}).Applied)
	require.Equal(t, runbook.CodeAlreadyDenied, deny(inventory.DenyInput{Name: "denied"}).Refusal.Code)
	require.True(t, deny(inventory.DenyInput{Name: "denied", Delete: true}).Applied, "it is denied, and there")
	half := deny(inventory.DenyInput{Name: "half", Delete: true})
	require.Equal(t, runbook.CodeDeviceExists, half.Refusal.Code)
	require.Contains(t, half.Refusal.Message, "flightctl delete device/half")
}

// What Flight Control decides itself is recorded as its own, once; what was decided here is answered as it was.
func TestARequestThatIsDecidedElsewhereIsFollowed(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("web-1", "5"))
	_, err := store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	since := time.Now().Add(-time.Hour)
	for _, name := range []string{"pending", "theirs", "deleted", "ours", "again"} {
		enrollmentRequest{Name: name, Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
	}
	follow := func(name, id string, mode runbook.Mode) inventory.Decided {
		got, err := store.FollowRequest(t.Context(), inventory.FollowRequestInput{
			OrgID: runbook.DefaultOrgID, Name: name, Since: since, RequestID: id, Mode: mode,
		})
		require.NoError(t, err)
		return got
	}
	require.Equal(t, inventory.Decided{State: runbook.EnrollmentPending}, follow("pending", "1", runbook.ModeFlightctl))

	play(t, store, fcMakesDevice, "theirs")
	play(t, store, fcApproves, "theirs")
	for range 2 {
		got := follow("theirs", "1", runbook.ModeFlightctl)
		require.Equal(t, []any{true, runbook.EnrollmentApproved, isAwaiting, "", inventory.ActorFlightctl},
			[]any{got.Elsewhere, got.State, got.Device, got.RestoreID, got.By})
		require.Equal(t, "it was approved in Flight Control by rollcall", got.Reason)
		require.False(t, got.At.IsZero())
	}
	require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions where name = 'theirs'`))
	require.Equal(t, []string{"theirs"}, appearedIn(t, store), "its device joins the roll as before")
	_, err = store.JoinAppeared(t.Context(), "r1", inventory.Appeared{OrgID: runbook.DefaultOrgID, Name: "theirs"})
	require.NoError(t, err)
	require.Equal(t, "r1", follow("theirs", "2", runbook.ModeFlightctl).RestoreID)

	for _, name := range []string{"deleted", "again"} {
		if name == "again" { // it was denied here before, and posted again
			_, err := store.Deny(t.Context(), denyOf(name, "alice"))
			require.NoError(t, err)
			since = time.Now().Add(time.Hour)
		}
		play(t, store, `delete from enrollment_requests where name = $1`, name)
		got := follow(name, "1", runbook.ModeStandalone)
		require.Equal(t, []any{true, runbook.EnrollmentGone, inventory.ActorService, "it was deleted without Rollcall"},
			[]any{got.Elsewhere, got.State, got.By, got.Reason}, name)
		since = time.Now().Add(-time.Hour)
	}

	_, err = store.Deny(t.Context(), denyOf("ours", "alice"))
	require.NoError(t, err)
	play(t, store, `delete from enrollment_requests where name = $1`, "ours")
	got := follow("ours", "1", runbook.ModeFlightctl)
	require.Equal(t, []any{false, runbook.EnrollmentDenied, "alice"}, []any{got.Elsewhere, got.State, got.By})

	var asked []inventory.PendingRequest
	for _, name := range []string{"pending", "theirs", "deleted", "never"} {
		asked = append(asked, inventory.PendingRequest{OrgID: runbook.DefaultOrgID, Name: name})
	}
	decided, err := inventory.DecidedRequests(t.Context(), store.DB(), asked)
	require.NoError(t, err)
	require.ElementsMatch(t, asked[1:], decided)
}

// An approval that Flight Control has begun and not finished is seen at the request.
func TestAnUnfinishedApprovalIsSeen(t *testing.T) {
	t.Parallel()
	store := beside(t, newStore(t), reporting("web-1", "5"))
	_, err := store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	for _, name := range []string{"pending", "half", "just", "older", "waits", "unrendered", "rendered"} {
		enrollmentRequest{Name: name}.create(t, store)
		if name != "pending" {
			play(t, store, fcMakesDevice, name)
		}
		if name == "waits" || name == "unrendered" || name == "rendered" {
			play(t, store, fcApproves, name)
		}
	}
	store.DB().MustExec(`update enrollment_requests set created_at = now() - interval '2 hours'`)
	store.DB().MustExec(`update devices set created_at = now() - interval '1 hour' where name <> 'just'`)
	play(t, store, `update devices set created_at = now() - interval '3 hours' where name = $1`, "older")
	for _, name := range []string{"unrendered", "rendered"} {
		play(t, store, `update devices set annotations = '{}' where name = $1`, name)
	}
	play(t, store, `update devices set annotations = '{"device-controller/renderedVersion": "1"}' where name = $1`,
		"rendered")
	unfinished := func() map[string]runbook.Unfinished {
		found, err := store.Enrollments(t.Context(), inventory.Query{})
		require.NoError(t, err)
		seen := map[string]runbook.Unfinished{}
		for _, e := range found {
			if e.Unfinished != "" {
				seen[e.Name] = e.Unfinished
			}
		}
		return seen
	}
	require.Equal(t, map[string]runbook.Unfinished{
		"half": runbook.NoCertificate, "unrendered": runbook.NotRendered,
	}, unfinished())
	require.Contains(t, runbook.NotRendered.Remedy("unrendered"), "change the spec of device unrendered")
	require.Empty(t, runbook.Unfinished("").Remedy("x"))
	store.DB().MustExec(`update rollcall.restores set mode = 'standalone'`)
	require.Empty(t, unfinished(), "it is Flight Control's approval alone")
}
