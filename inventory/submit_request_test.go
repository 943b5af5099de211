package inventory_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

func newKey(t *testing.T) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func csrOf(t *testing.T, name string, key crypto.Signer) string {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func arrivalOf(t *testing.T, name string, key crypto.Signer, known string) inventory.SubmitRequestInput {
	csr := csrOf(t, name, key)
	spec, err := json.Marshal(map[string]string{"csr": csr, "knownRenderedVersion": known})
	require.NoError(t, err)
	return inventory.SubmitRequestInput{
		OrgID: runbook.DefaultOrgID, Name: name, Labels: map[string]string{"site": "berlin"}, Spec: spec, CSR: csr,
		Known: known,
	}
}

func arrive(t *testing.T, store *inventory.Store, in inventory.SubmitRequestInput) inventory.SubmitRequestResult {
	a, err := store.SubmitRequest(t.Context(), in)
	require.NoError(t, err)
	return a
}

func deny(t *testing.T, store *inventory.Store, name string) {
	d, err := store.Deny(t.Context(), denyOf(name, "alice"))
	require.NoError(t, err)
	require.True(t, d.Applied, d.Refusal)
}

// backedUp is a row as the backup held it, with this key.
func backedUp(t *testing.T, store *inventory.Store, name string, key crypto.Signer, status string) {
	spec, err := json.Marshal(map[string]string{"csr": csrOf(t, name, key)})
	require.NoError(t, err)
	enrollmentRequest{Name: name, Spec: ptr(string(spec)), Status: &status}.create(t, store)
}

const isApproved = `{"approval": {"approved": true}, "conditions": [{"type": "Approved", "status": "True"}], "certificate": "theirs"}`

func TestARequestArrives(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store, key := open(t), newKey(t)
			in := arrivalOf(t, "web-1", key, "8")
			first := arrive(t, store, in)
			require.Equal(t, runbook.SubmissionNew, first.Arrival)
			require.Equal(t, runbook.KeyNew, first.Key)
			require.Equal(t, runbook.EnrollmentPending, first.Request.State)
			require.JSONEq(t, `{"conditions": []}`, string(first.Request.Status))
			require.JSONEq(t, string(in.Spec), string(first.Request.Spec))
			again := arrive(t, store, in)
			require.Equal(t, runbook.SubmissionAgain, again.Arrival)
			require.Equal(t, first.Request, again.Request)
			require.Equal(t,
				[]event{{
					"ResourceCreated", "Normal", "service:rollcall", "EnrollmentRequest", "web-1",
					"Enrollment requested; the device runs version 8",
				}}, events(t, store))

			_, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
			require.NoError(t, err)
			refused := arrive(t, store, in)
			require.Equal(t, runbook.CodeDeviceExists, refused.Refusal.Code)
			require.Empty(t, refused.Arrival)
			store.DB().MustExec(`update devices set deleted_at = now()`)
			fresh := arrive(t, store, in)
			require.Equal(t, runbook.SubmissionNew, fresh.Arrival)
			require.Equal(t, runbook.KeySame, fresh.Key)
			require.JSONEq(t, `{"conditions": []}`, string(fresh.Request.Status))
			require.True(t, fresh.Request.CreatedAt.After(first.Request.CreatedAt))
			require.Contains(t, events(t, store)[2].Message, "again")
			pending, err := store.Enrollments(t.Context(), inventory.Query{})
			require.NoError(t, err)
			require.False(t, pending[0].DeviceExists, "it is shown as one that may be approved")

			// What the deleted device has left is not the new one's.
			store.DB().MustExec(`update devices set owner = 'Fleet/web', alias = 'old',
				annotations = '{"device-controller/renderedVersion": "7"}',
				spec = '{"os": {"image": "old:1"}}', labels = '{"old": "label"}', generation = 3, resource_version = 9, render_timestamp = now()`)
			store.DB().MustExec(`update device_timestamps set last_seen = now()`)
			in2 := approveOf("web-1", "alice")
			in2.Labels = map[string]string{"site": "bonn"}
			d, err := store.Approve(t.Context(), in2)
			require.NoError(t, err)
			require.True(t, d.Applied, d.Refusal)
			require.Equal(t, runbook.StateAwaitingReconnect, d.Device)
			require.Equal(t, 1,
				count(t, store, `select count(*) from devices where deleted_at is null and owner is null and alias is null
				and spec = '{}' and labels = '{"site": "bonn"}' and annotations = '{"device-controller/awaitingReconnect": "true"}'
				and generation = 4 and resource_version = 10 and render_timestamp is null
				and status #>> '{summary,status}' = 'AwaitingReconnect'`))
			require.Equal(t, 1, count(t, store, `select count(*) from device_timestamps where last_seen is null`))
			require.Equal(t, 1,
				count(t, store, `select count(*) from device_labels where label_key = 'site' and label_value = 'bonn'`))
			require.Equal(t, 1, count(t, store, `select count(*) from device_labels`))
			require.Equal(t, runbook.CodeDeviceExists, arrive(t, store, in).Refusal.Code)
		})
	}
}

// Whoever has the shared bootstrap certificate can read a pending request and post it again. What decides how its
// device begins, and what the device gets of it, stays with the key.
func TestARequestThatIsPostedAgainKeepsWhatCounts(t *testing.T) {
	t.Parallel()
	store := databases["own"](t)
	post := func(in inventory.SubmitRequestInput, known string, more map[string]any) map[string]any {
		t.Helper()
		more["csr"], more["knownRenderedVersion"] = in.CSR, known
		spec, err := json.Marshal(more)
		require.NoError(t, err)
		in.Spec, in.Known = spec, known
		a := arrive(t, store, in)
		require.Nil(t, a.Refusal)
		var stored map[string]any
		require.NoError(t, json.Unmarshal(a.Request.Spec, &stored))
		return stored
	}
	labels := func(site string) map[string]any { return map[string]any{"site": site} }
	first, other := arrivalOf(t, "web-1", newKey(t), ""), arrivalOf(t, "web-1", newKey(t), "")
	post(first, "7", map[string]any{"labels": labels("bonn"), "osMode": "image"})
	stored := post(first, "0", map[string]any{
		"labels": labels("evil"), "osMode": "package", "deviceStatus": map[string]any{"systemInfo": map[string]any{}},
	})
	require.Equal(t, "7", stored["knownRenderedVersion"])
	require.Equal(t, labels("bonn"), stored["labels"])
	require.Equal(t, "image", stored["osMode"])
	require.Contains(t, stored, "deviceStatus", "the rest is as it says now")
	told := func() string {
		all := events(t, store)
		last := all[len(all)-1]
		return last.Type + ": " + last.Message
	}
	require.Equal(t, "Warning: Enrollment requested again with other labels and another OS mode, which do not count: "+
		"those of the first post with its key stay; the device runs version 7", told())
	post(first, "7", map[string]any{"labels": labels("bonn"), "osMode": "image"})
	post(first, "7", map[string]any{})
	require.Len(t, events(t, store), 2, "it says nothing else")
	post(first, "7", map[string]any{"labels": map[string]any{}})
	require.Contains(t, told(), "Warning: Enrollment requested again with other labels, which do not count: ")
	require.Equal(t, "9", post(first, "9", map[string]any{})["knownRenderedVersion"])
	require.Equal(t, "Normal: Enrollment requested again; the device runs version 9", told())
	stored = post(other, "", map[string]any{"labels": labels("kiel")})
	require.Equal(t, "9", stored["knownRenderedVersion"], "waiting is the safe state, whatever the key is")
	require.Equal(t, labels("kiel"), stored["labels"], "another key is another device, which a person is shown")
	require.NotContains(t, stored, "osMode")
	d, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
	require.NoError(t, err)
	require.Equal(t, runbook.StateAwaitingReconnect, d.Device)

	bare := arrivalOf(t, "web-2", newKey(t), "")
	post(bare, "0", map[string]any{})
	stored = post(bare, "3", map[string]any{"labels": labels("evil"), "osMode": "package"})
	require.Equal(t, "3", stored["knownRenderedVersion"])
	require.NotContains(t, stored, "labels")
	require.NotContains(t, stored, "osMode")
}

func TestManyFirstArrivalsMakeOneRequest(t *testing.T) {
	t.Parallel()
	store, key := newStore(t), newKey(t)
	in := arrivalOf(t, "web-1", key, "8")
	arrivals := make([]runbook.Submission, 30)
	together(t, store, len(arrivals), func(i int) error {
		a, err := store.SubmitRequest(t.Context(), in)
		arrivals[i] = a.Arrival
		return err
	})
	made := 0
	for _, a := range arrivals {
		if a == runbook.SubmissionNew {
			made++
		}
	}
	require.Equal(t, 1, made)
	require.Len(t, events(t, store), 1)
	require.Equal(t, 1, count(t, store, `select resource_version from enrollment_requests`))
}

func TestArrivingWhileItIsApproved(t *testing.T) {
	t.Parallel()
	store, key := newStore(t), newKey(t)
	in := arrivalOf(t, "web-1", key, "")
	arrive(t, store, in)
	together(t, store, 20, func(i int) error {
		if i == 0 {
			_, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
			return err
		}
		_, err := store.SubmitRequest(t.Context(), in)
		return err
	})
	require.Equal(t, 1,
		count(t, store, `select count(*) from enrollment_requests where status @> '{"approval": {"approved": true}}'`),
		"no arrival undoes it")
	require.Equal(t, 1, count(t, store, `select count(*) from devices`))
}

func TestTheKeyThatIsKnownOfAName(t *testing.T) {
	t.Parallel()
	known, other := newKey(t), newKey(t)
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	deleted := func(store *inventory.Store) { store.DB().MustExec(`update enrollment_requests set deleted_at = now()`) }
	for name, tc := range map[string]struct {
		before    func(t *testing.T, store *inventory.Store)
		same, not runbook.KeyMatch // of the key that was there before, and of another one
	}{
		"none": {func(*testing.T, *inventory.Store) {}, runbook.KeyNew, runbook.KeyNew},
		"of a pending one in the backup": {func(t *testing.T, store *inventory.Store) {
			backedUp(t, store, "web-1", known, `{}`)
		}, runbook.KeySame, runbook.KeyDifferent},
		"of one that the backup has approved": {func(t *testing.T, store *inventory.Store) {
			backedUp(t, store, "web-1", known, isApproved)
		}, runbook.KeySame, runbook.KeyDifferent},
		"of a deleted one": {func(t *testing.T, store *inventory.Store) {
			backedUp(t, store, "web-1", known, isApproved)
			deleted(store)
		}, runbook.KeySame, runbook.KeyDifferent},
		"of a deleted one that was denied": {func(t *testing.T, store *inventory.Store) {
			backedUp(t, store, "web-1", known, `{"approval": {"approved": false}}`)
			deleted(store)
		}, runbook.KeyNew, runbook.KeyNew},
		"of one that was denied and is gone altogether": {func(t *testing.T, store *inventory.Store) {
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			arrive(t, store, arrivalOf(t, "web-1", known, "1"))
			deny(t, store, "web-1")
			store.DB().MustExec(`delete from enrollment_requests`)
		}, runbook.KeyNew, runbook.KeyNew},
		"of one that was denied and is deleted": {func(t *testing.T, store *inventory.Store) {
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			deny(t, store, "web-1")
			deleted(store)
		}, runbook.KeyNew, runbook.KeyNew},
		"of one before that which was denied": {func(t *testing.T, store *inventory.Store) {
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			arrive(t, store, arrivalOf(t, "web-1", other, ""))
			deny(t, store, "web-1")
			store.DB().MustExec(`delete from enrollment_requests`)
		}, runbook.KeySame, runbook.KeyDifferent},
		"of one that was let in before it was denied": {func(t *testing.T, store *inventory.Store) {
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			_, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
			require.NoError(t, err)
			store.DB().MustExec(`delete from devices`)
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			deny(t, store, "web-1")
			store.DB().MustExec(`delete from enrollment_requests`)
		}, runbook.KeySame, runbook.KeyDifferent},
		"of a kind that is not signed any more": {func(t *testing.T, store *inventory.Store) {
			backedUp(t, store, "web-1", old, isApproved)
		}, runbook.KeyDifferent, runbook.KeyDifferent},
		"of one that is gone altogether": {func(t *testing.T, store *inventory.Store) {
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			store.DB().MustExec(`delete from enrollment_requests`)
		}, runbook.KeySame, runbook.KeyDifferent},
		"that a human has let in though it was different": {func(t *testing.T, store *inventory.Store) {
			arrive(t, store, arrivalOf(t, "web-1", other, ""))
			arrive(t, store, arrivalOf(t, "web-1", known, ""))
			_, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
			require.NoError(t, err)
			store.DB().MustExec(`delete from devices`)
			store.DB().MustExec(`delete from enrollment_requests`)
		}, runbook.KeySame, runbook.KeyDifferent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for key, want := range map[crypto.Signer]runbook.KeyMatch{known: tc.same, other: tc.not} {
				store := newStore(t)
				tc.before(t, store)
				for i := range 3 {
					a := arrive(t, store, arrivalOf(t, "web-1", key, fmt.Sprint(i)))
					require.Nil(t, a.Refusal)
					stands, err := store.Enrollments(t.Context(), inventory.Query{})
					require.NoError(t, err)
					require.Equal(t, want, stands[0].Key, "posted %d times", i+1)
				}
			}
		})
	}
}

func TestAnArrivalThatCannotBeStoredIsRefused(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	in := arrivalOf(t, "web-1", newKey(t), "")
	in.Spec = json.RawMessage(`{"a": "\u0000"}`)
	_, err := store.SubmitRequest(t.Context(), in)
	require.Equal(t, runbook.CodeInvalidRequest, refusal(t, err))
	require.Zero(t,
		count(t, store, `select count(*) from enrollment_requests`)+
			count(t, store, `select count(*) from rollcall.request_keys`))
}

func TestACertificateIsStoredOnce(t *testing.T) {
	t.Parallel()
	store, key := newStore(t), newKey(t)
	arrive(t, store, arrivalOf(t, "web-1", key, ""))
	read := func() inventory.AgentRequest {
		r, found, err := store.AgentRequest(t.Context(), runbook.DefaultOrgID, "web-1")
		require.NoError(t, err)
		require.True(t, found)
		return r
	}
	put := func(r inventory.AgentRequest, certificate string) bool {
		stored, err := store.StoreCertificate(t.Context(), r, []byte(certificate))
		require.NoError(t, err)
		return stored
	}
	require.False(t, put(read(), "early"), "no one has approved it")
	_, err := store.Approve(t.Context(), approveOf("web-1", "alice"))
	require.NoError(t, err)
	approved := read()
	other := approved
	other.CSR = csrOf(t, "web-1", newKey(t))
	require.False(t, put(other, "another"), "it is not what was signed")
	require.True(t, put(approved, "first"))
	require.False(t, put(approved, "second"))
	first := read()
	require.Equal(t, "first", first.Certificate)
	require.True(t, put(first, "again"), "in place of the one that was read")
	require.False(t, put(first, "third"))
	require.Equal(t, "again", read().Certificate)
	_, found, err := store.AgentRequest(t.Context(), runbook.DefaultOrgID, "web-2")
	require.NoError(t, err)
	require.False(t, found)
}

// Whoever shares the certificate for enrolling cannot take the place of a device whose name proves its key.
func TestAKeyThatTheNameProvesIsNotReplaced(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	known, other := newKey(t), newKey(t)
	name, err := authority.DeviceName(known.Public())
	require.NoError(t, err)
	arrive(t, store, arrivalOf(t, name, known, "8"))
	refused := arrive(t, store, arrivalOf(t, name, other, "0"))
	require.Equal(t, runbook.CodeKeyChanged, refused.Refusal.Code)
	require.Equal(t, "8", *readString(t, store, `select spec ->> 'knownRenderedVersion' from enrollment_requests`),
		"nothing of it is taken over")
	require.Nil(t, arrive(t, store, arrivalOf(t, name, known, "9")).Refusal)

	arrive(t, store, arrivalOf(t, "web-1", other, "8"))
	require.Equal(t, runbook.KeyDifferent, arrive(t, store, arrivalOf(t, "web-1", known, "8")).Key,
		"a name that proves nothing is for a human to judge")
}
