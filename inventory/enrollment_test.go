package inventory_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// enrollmentRequest is a row of the enrollment requests. Nil documents are NULL, but that a spec without a csr gets one
// that can be signed.
type enrollmentRequest struct {
	Name                      string
	Annotations, Spec, Status *string
}

func (r enrollmentRequest) create(t *testing.T, store *inventory.Store) {
	spec := map[string]any{}
	if r.Spec != nil {
		require.NoError(t, json.Unmarshal([]byte(*r.Spec), &spec))
	}
	if _, given := spec["csr"]; !given {
		spec["csr"] = csrOf(t, r.Name, newKey(t))
		text, err := json.Marshal(spec)
		require.NoError(t, err)
		r.Spec = ptr(string(text))
	}
	_, err := store.DB().Exec(`insert into enrollment_requests (org_id, name, labels, annotations, spec, status,
		resource_version)
		values ($1, $2, '{"asked": "for"}', $3, $4, $5, 4)`, runbook.DefaultOrgID, r.Name, r.Annotations, r.Spec, r.Status)
	require.NoError(t, err)
}

// tpmRequest is the beginning of a TPM's signing request, in base64.
const tpmRequest = "AQABAAAAAEAAAABGAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// rsaRequest is a signing request that Flight Control signs and our authority does not.
func rsaRequest(t *testing.T, name string) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return csrOf(t, name, key)
}

func approveOf(name, by string) inventory.ApproveInput {
	return inventory.ApproveInput{
		OrgID: runbook.DefaultOrgID, Name: name, By: by, Reason: "known device",
		Labels: map[string]string{"site": "berlin"}, RequestID: uuid.NewString(),
	}
}

func denyOf(name, by string) inventory.DenyInput {
	return inventory.DenyInput{
		OrgID: runbook.DefaultOrgID, Name: name, By: by,
		Reason: "unknown device", RequestID: uuid.NewString(),
	}
}

func decidedCode(d inventory.Decided) runbook.Code {
	if d.Refusal == nil {
		return ""
	}
	return d.Refusal.Code
}

// restoredWithRequest is a store in which the restore "r1" runs, with one device on its roll, and whose backup held the
// request "new".
func restoredWithRequest(t *testing.T, store *inventory.Store) *inventory.Store {
	versioned("web-1", "5").create(t, store)
	enrollmentRequest{
		Name: "new", Annotations: ptr(`{"acme/ticket": "OPS-1"}`),
		Spec: ptr(`{"knownRenderedVersion": "8",
			"deviceStatus": {"systemInfo": {"architecture": "arm64"}, "summary": {"status": "Error"}}}`),
		Status: ptr(`{"conditions": [{"type": "Seen", "status": "True"}], "other": 1}`),
	}.create(t, store)
	openRestore(t, store, "r1")
	_, err := store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	putAll(t, store, "r1")
	return store
}

func TestApproveWhatWasInTheBackup(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := restoredWithRequest(t, open(t))
			in := approveOf("new", "alice")
			first, err := store.Approve(t.Context(), in)
			require.NoError(t, err)
			require.True(t, first.Applied)
			require.Equal(t, runbook.EnrollmentApproved, first.State)
			require.Equal(t, runbook.StateAwaitingReconnect, first.Device)
			require.Equal(t, "r1", first.RestoreID)
			again, err := store.Approve(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, first.At.UnixMicro(), again.At.UnixMicro())
			again.At = first.At
			require.Equal(t, first, again, "the same request has the same answer")

			d := readDevice(t, store, runbook.DefaultOrgID, "new")
			require.JSONEq(t, `{"device-controller/awaitingReconnect": "true"}`, *d.Annotations, "other annotations do not move")
			require.JSONEq(t, `{"summary": {"status": "AwaitingReconnect", "info": "`+runbook.InfoAwaitingReconnect+
				`"}, "updated": {"status": "Unknown"}, "lifecycle": {"status": "Enrolled"}, "config": {"renderedVersion": ""},
				"systemInfo": {"architecture": "arm64"}, "os": {"image": "", "imageDigest": ""},
				"conditions": [{"type": "Updating", "status": "Unknown", "message": "", "reason": "",
					"lastTransitionTime": "0001-01-01T00:00:00Z"}], "applications": [],
				"applicationsSummary": {"status": "Unknown"},
				"resources": {"cpu": "Unknown", "memory": "Unknown", "disk": "Unknown"},
				"integrity": {"status": "Unsupported", "info": "TPM not present or not enabled on this device",
					"deviceIdentity": {"status": "Unsupported"}, "tpm": {"status": "Unsupported"}}}`, *d.Status)
			require.Equal(t, 1, count(t, store,
				`select count(*) from device_timestamps where name = 'new' and last_seen is null`))
			require.Equal(t, 1, count(t, store,
				`select count(*) from device_labels where device_name = 'new' and label_key = 'site' and label_value = 'berlin'`))
			require.Equal(t, 1, count(t, store, `select count(*) from device_labels where device_name = 'new'`),
				"the request asks for none")
			require.Equal(t, 1, count(t, store, `select count(*) from devices where name = 'new' and spec = '{}'`))

			var request struct {
				Annotations     string
				Status          string
				ResourceVersion int `db:"resource_version"`
			}
			require.NoError(t, store.DB().Get(&request,
				`select annotations, status, resource_version from enrollment_requests where name = 'new'`))
			require.JSONEq(t, `{"acme/ticket": "OPS-1"}`, request.Annotations)
			require.Equal(t, 6, request.ResourceVersion, "once by the restore and once by the approval")
			var status struct {
				Approval struct {
					Approved               bool
					ApprovedBy, ApprovedAt string
					Labels                 map[string]string
				}
				Conditions []struct{ Type, Status, Reason, Message string }
				Other      int
			}
			require.NoError(t, json.Unmarshal([]byte(request.Status), &status))
			require.True(t, status.Approval.Approved)
			require.Equal(t, "alice", status.Approval.ApprovedBy)
			require.NotEmpty(t, status.Approval.ApprovedAt)
			require.Equal(t, map[string]string{"site": "berlin"}, status.Approval.Labels)
			require.Len(t, status.Conditions, 2)
			require.Equal(t, "Approved", status.Conditions[1].Type)
			require.Equal(t, 1, status.Other)

			tally, err := store.RestoreStatus(t.Context(), "r1")
			require.NoError(t, err)
			require.EqualValues(t, 2, tally.Total)
			require.True(t, tally.AddsUp())
			total, err := store.FinishRoll(t.Context(), "r1")
			require.NoError(t, err)
			require.EqualValues(t, 2, total)
			entry, err := store.WaitingEntry(t.Context(), "r1", runbook.DefaultOrgID, "new")
			require.NoError(t, err)
			require.EqualValues(t, 1, entry.Seq)
			rows, err := store.Transitions(t.Context(), runbook.DefaultOrgID, "new", 0)
			require.NoError(t, err)
			require.Len(t, rows, 1)
			require.Equal(t, runbook.T1, rows[0].Transition)
			require.Equal(t, 1, count(t, store,
				`select count(*) from events where involved_object_kind = 'EnrollmentRequest' and actor = 'user:alice'`))

			_, err = store.Reconnect(t.Context(),
				inventory.ReconnectInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "new", Reported: "8", RequestID: "q"})
			require.NoError(t, err)
			require.Contains(t, *readDevice(t, store, runbook.DefaultOrgID, "new").Annotations, "conflictPaused")
		})
	}
}

func TestApprovalsAfterARestore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		annotations *string
		spec        *string
		want        runbook.State
	}{
		{"with a deployed version", nil, ptr(`{"knownRenderedVersion": "8"}`), runbook.StateAwaitingReconnect},
		{"with a deployed version as a number", nil, ptr(`{"knownRenderedVersion": 8}`), runbook.StateAwaitingReconnect},
		{
			"with a version that cannot be read", nil, ptr(`{"knownRenderedVersion": "seven"}`), runbook.StateAwaitingReconnect,
		},
		{"with version zero", nil, ptr(`{"knownRenderedVersion": "0"}`), runbook.StateNormal},
		{"without a version", nil, ptr(`{}`), runbook.StateNormal},
		{"without a spec", nil, nil, runbook.StateNormal},
		{
			"with an annotation that does not count", ptr(`{"device-controller/awaitingReconnect": "yes"}`), nil,
			runbook.StateNormal,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := restored(t, newStore(t), versioned("web-1", "5"))
			enrollmentRequest{Name: "late", Annotations: tc.annotations, Spec: tc.spec}.create(t, store)
			d, err := store.Approve(t.Context(), approveOf("late", "alice"))
			require.NoError(t, err)
			require.True(t, d.Applied)
			require.Equal(t, tc.want, d.Device)
			tally, err := store.RestoreStatus(t.Context(), "r1")
			require.NoError(t, err)
			onRoll := int64(1)
			if tc.want == runbook.StateAwaitingReconnect {
				onRoll = 2
				require.Equal(t, "r1", d.RestoreID)
			} else {
				require.Empty(t, d.RestoreID)
				require.Contains(t, *readDevice(t, store, runbook.DefaultOrgID, "late").Status, `"Online"`)
			}
			require.Equal(t, onRoll, tally.Total)
		})
	}
	t.Run("when no restore runs", func(t *testing.T) {
		t.Parallel()
		store := newStore(t)
		enrollmentRequest{Name: "late", Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
		d, err := store.Approve(t.Context(), approveOf("late", "alice"))
		require.NoError(t, err)
		require.Equal(t, runbook.StateAwaitingReconnect, d.Device)
		require.Empty(t, d.RestoreID)
		require.EqualValues(t, 1, restoredTotal(t, store), "the next restore puts it on its roll")
	})
	t.Run("of another organisation's restore", func(t *testing.T) {
		t.Parallel()
		store := newStore(t)
		other, err := store.CreateOrg(t.Context(), "acme")
		require.NoError(t, err)
		openRestore(t, store, "r1", other)
		putAll(t, store, "r1")
		enrollmentRequest{Name: "late", Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
		d, err := store.Approve(t.Context(), approveOf("late", "alice"))
		require.NoError(t, err)
		require.Empty(t, d.RestoreID)
	})
}

func restoredTotal(t *testing.T, store *inventory.Store) int64 {
	openRestore(t, store, "r9")
	return putAll(t, store, "r9")
}

func TestNoApprovalWhileTheRollIsMade(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	enrollmentRequest{Name: "new", Spec: ptr(`{}`)}.create(t, store)
	openRestore(t, store, "r1")
	_, err := store.Approve(t.Context(), approveOf("new", "alice"))
	require.ErrorContains(t, err, "still putting devices on its roll")
	require.Nil(t, runbook.AsRefusal(err),
		"it is to be tried again: the restore has not marked the requests of the backup yet")
	require.Zero(t, count(t, store, `select count(*) from devices`))
}

func TestApprovalsThatAreRefused(t *testing.T) {
	t.Parallel()
	store := restoredWithRequest(t, newStore(t))
	enrollmentRequest{Name: "web-1"}.create(t, store)
	enrollmentRequest{Name: "denied", Status: ptr(`{"conditions": [{"type": "Denied", "status": "True"}]}`)}.create(t,
		store)
	enrollmentRequest{Name: "tpm", Spec: ptr(`{"csr": "` + tpmRequest + `"}`)}.create(t, store)
	enrollmentRequest{
		Name: "rsa",
		Spec: ptr(`{"csr": "` + strings.ReplaceAll(rsaRequest(t, "rsa"), "\n", `\n`) + `"}`),
	}.create(t, store)
	first, err := store.Approve(t.Context(), approveOf("new", "alice"))
	require.NoError(t, err)
	require.True(t, first.Applied)
	devices, total := count(t, store, `select count(*) from devices`),
		count(t, store, `select count(*) from rollcall.roll`)
	for name, want := range map[string]runbook.Code{
		"new": runbook.CodeAlreadyApproved, "web-1": runbook.CodeDeviceExists, "denied": runbook.CodeAlreadyDenied,
		"nosuch": runbook.CodeNotFound,
		"tpm":    runbook.CodeUnsignable, "rsa": runbook.CodeUnsignable,
	} {
		in := approveOf(name, "bob")
		d, err := store.Approve(t.Context(), in)
		require.NoError(t, err)
		require.False(t, d.Applied)
		require.Equal(t, want, decidedCode(d), name)
		again, err := store.Approve(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, d, again)
		rows, err := store.Transitions(t.Context(), runbook.DefaultOrgID, name, 1)
		require.NoError(t, err)
		require.Equal(t, want, rows[0].Code, "a refusal is kept")
	}
	d, err := store.Approve(t.Context(), approveOf("new", "bob"))
	require.NoError(t, err)
	require.Equal(t, "alice", d.By, "the other is told who")
	require.Equal(t, "r1", d.RestoreID, "and on whose roll the device is")
	require.Contains(t, d.Refusal.Message, "by alice")
	require.Equal(t, devices, count(t, store, `select count(*) from devices`))
	require.Equal(t, total, count(t, store, `select count(*) from rollcall.roll`))
}

func TestDeny(t *testing.T) {
	t.Parallel()
	store := restoredWithRequest(t, newStore(t))
	in := denyOf("new", "alice")
	for range 2 {
		d, err := store.Deny(t.Context(), in)
		require.NoError(t, err)
		require.True(t, d.Applied)
		require.Equal(t, runbook.EnrollmentDenied, d.State)
	}
	var condition struct{ Status, Reason, Message string }
	var text string
	require.NoError(t, store.DB().Get(&text,
		`select c.value from enrollment_requests e, jsonb_array_elements(e.status -> 'conditions') c
			where c.value ->> 'type' = 'Denied'`))
	require.NoError(t, json.Unmarshal([]byte(text), &condition))
	require.Equal(t, "True", condition.Status)
	require.Equal(t, "Denied by alice: unknown device", condition.Message)
	d, err := store.Approve(t.Context(), approveOf("new", "bob"))
	require.NoError(t, err)
	require.Equal(t, runbook.CodeAlreadyDenied, decidedCode(d))
	require.Equal(t, 1, count(t, store, `select count(*) from devices`))
	d, err = store.Deny(t.Context(), denyOf("new", "bob"))
	require.NoError(t, err)
	require.Equal(t, runbook.CodeAlreadyDenied, decidedCode(d))
}

func TestManyApproveAtOnce(t *testing.T) {
	t.Parallel()
	store := restoredWithRequest(t, newStore(t))
	for i := range 4 {
		enrollmentRequest{Name: fmt.Sprintf("late-%d", i), Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
	}
	var wg sync.WaitGroup
	won := make(chan string, 100)
	for i := range 20 {
		wg.Go(func() {
			d, err := store.Approve(t.Context(), approveOf(fmt.Sprintf("late-%d", i%4), fmt.Sprintf("human-%d", i)))
			if err == nil && d.Applied {
				won <- d.By
			}
		})
	}
	wg.Wait()
	require.Len(t, won, 4)
	tally, err := store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.EqualValues(t, 5, tally.Total)
	require.Equal(t, 5, count(t, store, `select total from rollcall.restores where id = 'r1'`))
	require.Equal(t, 5, count(t, store, `select count(distinct seq) from rollcall.roll`))
}

func TestADeviceThatLeftTheRollAndEnrollsAnewComesBackToItsPlace(t *testing.T) {
	t.Parallel()
	store := restored(t, newStore(t), versioned("web-1", "5"))
	_, err := store.Withdraw(t.Context(), withdrawOf("web-1", true))
	require.NoError(t, err)
	store.DB().MustExec(`delete from devices where name = 'web-1'`)
	enrollmentRequest{Name: "web-1", Spec: ptr(`{"knownRenderedVersion": "8"}`)}.create(t, store)
	d, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
	require.NoError(t, err)
	require.True(t, d.Applied)
	tally, err := store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.EqualValues(t, 1, tally.Total)
	require.EqualValues(t, 1, tally.Counts[runbook.StateAwaitingReconnect])
}

func TestPendingRequests(t *testing.T) {
	t.Parallel()
	store := restoredWithRequest(t, newStore(t))
	enrollmentRequest{Name: "approved", Status: ptr(`{"approval": {"approved": true}}`)}.create(t, store)
	enrollmentRequest{Name: "denied", Status: ptr(`{"conditions": [{"type": "Denied", "status": "True"}]}`)}.create(t,
		store)
	enrollmentRequest{Name: "also-new", Status: ptr(`null`)}.create(t, store)
	in := inventory.RollInput{RestoreID: "r1", Limit: 1}
	var names []string
	for done := false; !done; {
		pending, r, err := store.PendingRequests(t.Context(), in)
		require.NoError(t, err)
		for _, p := range pending {
			names = append(names, p.Name)
		}
		in.AfterOrg, in.AfterName, done = r.LastOrg, r.LastName, r.Done
	}
	require.Equal(t, []string{"also-new", "new"}, names)
	openRestore(t, store, "r2")
	_, _, err := store.PendingRequests(t.Context(), in)
	require.Equal(t, runbook.CodeSuperseded, refusal(t, err))
}

func TestARestoreDoesNotCompleteWhileALateJoinerWaits(t *testing.T) {
	t.Parallel()
	store := restoredWithRequest(t, newStore(t))
	_, err := store.Reconnect(t.Context(), reconnectOf("web-1", "5"))
	require.NoError(t, err)
	_, err = store.Approve(t.Context(), approveOf("new", "alice"))
	require.NoError(t, err)
	_, err = store.CloseRestore(t.Context(), inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCompleted})
	require.Equal(t, runbook.CodeDevicesWaiting, refusal(t, err))
	_, err = store.Withdraw(t.Context(), withdrawOf("new", true))
	require.NoError(t, err)
	status, err := store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCompleted})
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Total)
}

// An approval makes the same device as Flight Control's: its labels, its alias and its osMode.
func TestAnApprovalMakesTheDeviceThatFlightControlMakes(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	spec := `{"labels": {"alias": "kiosk", "site": "rome", "odd": 7}, "osMode": "package"}`
	for _, name := range []string{"merged", "replaced"} {
		enrollmentRequest{Name: name, Spec: &spec}.create(t, store)
		in := approveOf(name, "alice")
		in.ReplaceLabels = name == "replaced"
		done, err := store.Approve(t.Context(), in)
		require.NoError(t, err)
		require.True(t, done.Applied, done.Refusal)
	}
	text := func(query string) (s string) {
		require.NoError(t, store.DB().Get(&s, query))
		return s
	}
	require.JSONEq(t, `{"alias": "kiosk", "site": "berlin"}`,
		text(`select labels::text from devices where name = 'merged'`))
	require.JSONEq(t, `{"site": "berlin"}`, text(`select labels::text from devices where name = 'replaced'`))
	require.Equal(t, "kiosk", text(`select alias from devices where name = 'merged'`))
	require.Equal(t, "none", text(`select coalesce(alias, 'none') from devices where name = 'replaced'`))
	require.Equal(t, "package", text(`select status #>> '{capabilities,osMode}' from devices where name = 'merged'`))
	require.JSONEq(t, `{"alias": "kiosk", "site": "berlin"}`,
		text(`select status #>> '{approval,labels}' from enrollment_requests where name = 'merged'`))
}
