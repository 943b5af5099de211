package fake_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
)

// newcomer posts an enrollment request of a new key, and returns its name.
func (b *bundle) newcomer(version string) string {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b.t, err)
	name, err := authority.DeviceName(key.Public())
	require.NoError(b.t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	require.NoError(b.t, err)
	body := map[string]any{"metadata": map[string]any{"name": name}, "spec": map[string]any{
		"csr":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		"labels": map[string]any{"alias": "till-1", "site": "a"}, "knownRenderedVersion": version, "osMode": "image",
	}}
	post := b.enrolling()
	require.Equal(b.t, 201, post("POST", "/enrollmentrequests", body).code)
	require.Equal(b.t, 409, post("POST", "/enrollmentrequests", body).code)
	require.NotContains(b.t, post("GET", "/enrollmentrequests/"+name, nil).body, "certificate")
	return name
}

func TestAnApprovalMakesTheDevice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.newcomer("0")
	require.NoError(t, b.client.Approve(t.Context(), org, name, map[string]string{"site": "b"}, false))
	require.Contains(t, b.enrolling()("GET", "/enrollmentrequests/"+name, nil).body, "BEGIN CERTIFICATE")
	var got string
	require.NoError(t, b.db.Get(&got,
		`select alias || ' ' || (labels->>'site') || ' ' || (status->'capabilities'->>'osMode') from devices where name = $1`,
		name))
	require.Equal(t, "till-1 b image", got)
	require.NoError(t, b.db.Get(&got, `select status->'approval'->>'approvedBy' from enrollment_requests where name = $1`,
		name))
	require.Equal(t, "admin", got)
	b.eventually(name, func(r row) bool { return r.Version == "1" && r.Awaiting == "" })
	require.False(t, b.fake.Store().Exists(awaitingKey(name)))

	require.ErrorIs(t, b.client.Approve(t.Context(), org, name, nil, false), flightctl.ErrRejected, "approved already")
	require.ErrorIs(t, b.client.Approve(t.Context(), org, "nobody", nil, false), flightctl.ErrNotFound)
	require.ErrorIs(t, b.client.DeleteEnrollmentRequest(t.Context(), org, name), flightctl.ErrConflict)
	require.Equal(t, 200, b.user("DELETE", "/devices/"+name, nil).code)
	require.Equal(t, 404, b.enrolling()("GET", "/enrollmentrequests/"+name, nil).code, "it goes with its device")
}

func TestADeviceOfAnAnnotatedRequestIsNotRenderedAfterT2(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.newcomer("7")
	require.NoError(t, b.client.Approve(t.Context(), org, name, nil, false))
	b.idle()
	require.Equal(t, row{Awaiting: "true", Summary: "AwaitingReconnect", Updated: "OutOfDate"}, b.look(name))
	require.True(t, b.fake.Store().Exists(awaitingKey(name)))
	b.poll(name, "7")
	b.idle()
	require.Equal(t, row{Paused: "true", Summary: "ConflictPaused", Updated: "OutOfDate", Reported: "7"}, b.look(name))
}

func (b *bundle) look(name string) row {
	r := b.row(name)
	r.Resource, r.UpdatedAt = 0, ""
	return r
}

func TestAnApprovalThatDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.newcomer("0")
	b.fake.Kill(fake.ApproveAfterDevice, 1)
	require.ErrorIs(t, b.client.Approve(t.Context(), org, name, nil, false), flightctl.ErrOutcomeUnknown)
	b.row(name) // the device is there
	require.NotContains(t, b.enrolling()("GET", "/enrollmentrequests/"+name, nil).body, "certificate")
	err := b.client.Approve(t.Context(), org, name, nil, false)
	require.ErrorIs(t, err, flightctl.ErrOutcomeUnknown)
	require.ErrorContains(t, err, "already exists and cannot be overwritten")
	require.ErrorIs(t, b.client.DeleteEnrollmentRequest(t.Context(), org, name), flightctl.ErrConflict)
	require.Equal(t, 200, b.user("DELETE", "/devices/"+name, nil).code)
	require.ErrorIs(t, b.client.Approve(t.Context(), org, name, nil, false), flightctl.ErrNotFound,
		"the request went with its device, and its agent posts another")
}

func TestAnApprovalWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.newcomer("0")
	b.fake.Kill(fake.ApproveAfterAll, 1)
	require.ErrorIs(t, b.client.Approve(t.Context(), org, name, nil, false), flightctl.ErrOutcomeUnknown)
	require.Contains(t, b.enrolling()("GET", "/enrollmentrequests/"+name, nil).body, "BEGIN CERTIFICATE")
}

func TestNotApprovedDoesNothingAndLabelsMustBeThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.newcomer("0")
	require.Equal(t, 200, b.user("PUT", "/enrollmentrequests/"+name+"/approval",
		map[string]any{"approved": false, "labels": map[string]any{}}).code)
	require.Equal(t, 500, b.user("PUT", "/enrollmentrequests/"+name+"/approval", map[string]any{"approved": true}).code)
	var devices int
	require.NoError(t, b.db.Get(&devices, `select count(*) from devices`))
	require.Zero(t, devices)
	require.NoError(t, b.client.Approve(t.Context(), org, name, nil, false))
}

func TestDecommissionAndDelete(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	require.NoError(t, b.client.Decommission(t.Context(), org, "web-1", flightctl.FactoryReset))
	var got string
	require.NoError(t, b.db.Get(&got,
		`select (spec->'decommissioning'->>'target') || ' ' || (status->'lifecycle'->>'status') from devices
			where name = 'web-1'`))
	require.Equal(t, "FactoryReset Decommissioning", got)
	require.ErrorIs(t, b.client.Decommission(t.Context(), org, "web-1", flightctl.Unenroll), flightctl.ErrConflict)
	require.ErrorIs(t, b.client.Decommission(t.Context(), org, "web-2", flightctl.Unenroll), flightctl.ErrNotFound)
	name := b.newcomer("0")
	require.NoError(t, b.client.DeleteEnrollmentRequest(t.Context(), org, name))
	require.Equal(t, 404, b.enrolling()("GET", "/enrollmentrequests/"+name, nil).code)
}
