package agentapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/inventory/credentials"
	"rollcall/runbook"
)

// enrolled is a device that was approved, and its agent with the certificate that it was given.
func (n *newcomer) enrolled() *agent {
	n.t.Helper()
	requirePending(n.t, n.post(""), http.StatusCreated)
	n.decided(n.name)
	s := requireRequest(n.t, n.get(), http.StatusOK)
	require.NotEmpty(n.t, s.Status.Certificate)
	return n.admitted(s.Status.Certificate)
}

// refusedEverywhere makes each call of a device, and checks that all are refused with a 403 after which an agent keeps
// its certificate.
func (a *agent) refusedEverywhere(says string) {
	a.t.Helper()
	csr, status := csrOf(a.t, a.name, a.newcomer().key), "/api/v1/devices/"+a.name+"/status"
	for _, call := range []struct{ method, path, contentType, body string }{
		{http.MethodGet, a.rendered("?knownRenderedVersion=9"), "", ""},
		{http.MethodPut, status, "application/json", `{"status":{"config":{"renderedVersion":"9"}}}`},
		{http.MethodPatch, status, "application/json-patch+json", `[]`},
		{http.MethodPost, renewalsPath, "application/json", renewalBody(a.name+"-0a1b2c3d", authority.SignerRenewal, csr)},
		{http.MethodGet, renewalsPath + "/" + a.name + "-0a1b2c3d", "", ""},
	} {
		got, err := a.send(call.method, call.path, call.contentType, strings.NewReader(call.body))
		require.NoError(a.t, err)
		requireStatus(a.t, got, http.StatusForbidden, says)
		require.False(a.t, isAbsent(got), got.body)
	}
}

func (b *bench) refusals(reason string) int {
	var n int
	_, after, _ := strings.Cut(b.ops("/metrics").body, fmt.Sprintf("rollcall_gateway_refusals_total{reason=%q} ", reason))
	_, _ = fmt.Sscan(after, &n)
	return n
}

// A thief has the key that a device had before its storage was replaced. The certificate of that key is valid for a
// year.
func TestACertificateOfAReplacedKeyNoLongerActs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.newcomer("web-1")
	stolen := first.enrolled()
	require.Equal(t, http.StatusNoContent, stolen.poll("5").code)
	b.store.DB().MustExec(`delete from devices`)
	require.True(t, isAbsent(stolen.poll("5")))
	replaced := first.rekeyed().enrolled()
	b.roll("r1")

	stolen.refusedEverywhere("was replaced")
	require.Equal(t, 5, b.refusals("replaced"))
	require.Empty(t, b.signals.versions(), "nothing that it says is a report")
	require.Empty(t, b.noted("web-1"))
	require.Equal(t, http.StatusNoContent, replaced.poll("5").code)
	require.Equal(t, []string{"5"}, b.signals.versions())

	b.store.DB().MustExec(`update devices set deleted_at = now()`)
	require.True(t, isAbsent(stolen.poll("5")), "a device that is not there is a 404, whatever the certificate")
}

// A database that was restored knows the key of the backup. A certificate that was signed for a newer one counts.
func TestACertificateThatIsNewerThanTheKnownKeyActs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.newcomer("web-1").enrolled()
	a := b.agent("web-1")
	a.refusedEverywhere("was replaced")
	b.store.DB().MustExec(`update enrollment_requests
		set status = jsonb_set(status, '{approval,approvedAt}', to_jsonb(cast($1 as text)))`,
		time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	require.Equal(t, http.StatusNoContent, a.poll("5").code)
}

// A posted key is not the known one, so that the bootstrap certificate locks no device out.
func TestAPostedRequestReplacesNoKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	requirePending(t, b.newcomer("web-1").post(""), http.StatusCreated)
	require.Less(t, a.poll("5").code, 300)
}

func TestARenewalKeepsTheKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer("web-1")
	a := n.enrolled()
	other := renewalBody("web-1-a", authority.SignerRenewal, n.rekeyed().csr())
	requireStatus(t, a.do(http.MethodPost, renewalsPath, other), http.StatusForbidden, "a renewal keeps the key")
	require.Equal(t, 1, b.refusals("otherkey"))
	got := a.do(http.MethodPost, renewalsPath, renewalBody("web-1-b", authority.SignerRenewal, n.csr()))
	require.Equal(t, http.StatusCreated, got.code, got.body)
	require.Equal(t, http.StatusOK, a.do(http.MethodGet, renewalsPath+"/web-1-b", "").code)
}

// certificate is what the agent's certificate is revoked by.
func (a *agent) certificate() (serial, key string) {
	a.t.Helper()
	leaf := a.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0].Leaf
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return leaf.SerialNumber.Text(16), hex.EncodeToString(sum[:])
}

func (b *bench) revoke(kind credentials.Kind, value string, revoked bool) {
	b.t.Helper()
	changed, err := credentials.Store(b.t.Context(), b.store.DB(), credentials.Revocation{
		OrgID: runbook.DefaultOrgID, Kind: kind, Value: value, Revoked: revoked, By: "alice", Reason: "stolen",
	})
	require.NoError(b.t, err)
	require.True(b.t, changed)
}

func TestARevokedCertificateNoLongerActs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5", "web-2": "5"})
	b.roll("r1")
	other := b.agent("web-2")
	for _, kind := range []credentials.Kind{credentials.Serial, credentials.Key} {
		a := b.agent("web-1")
		serial, key := a.certificate()
		value := map[credentials.Kind]string{credentials.Serial: serial, credentials.Key: key}[kind]
		before := b.refusals("revoked")
		b.revoke(kind, value, true)
		a.refusedEverywhere("was revoked")
		require.Equal(t, before+5, b.refusals("revoked"))
		require.Less(t, other.poll("5").code, 300)
		b.revoke(kind, value, false)
		require.Less(t, a.poll("5").code, 300, "the revocation was taken back")
		b.revoke(kind, value, true)
		require.Equal(t, http.StatusForbidden, a.poll("5").code)
	}
}

// A poll that is held when its certificate is revoked does not bring the device its next spec.
func TestARevocationEndsAHeldPoll(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.RecheckEvery = 300 * time.Millisecond })
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	held := a.polling(version(served(t, a.poll("5"))))
	b.held(1)
	_, key := a.certificate()
	b.revoke(credentials.Key, key, true)
	requireStatus(t, <-held, http.StatusForbidden, "was revoked")
}

func TestARevokedBootstrapCertificateEnrollsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	serial, _ := n.certificate()
	b.revoke(credentials.Serial, serial, true)
	requireStatus(t, n.post(""), http.StatusForbidden, "was revoked")
	requireStatus(t, n.get(), http.StatusForbidden, "was revoked")
	require.Zero(t, b.count(`select count(*) from enrollment_requests`))
	requirePending(t, b.newcomer().post(""), http.StatusCreated)
}

func TestADeviceThatIsBeingDecommissionedIsServedOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.newcomer("web-1").enrolled()
	b.store.DB().MustExec(`update devices set status = status || '{"lifecycle": {"status": "Decommissioning"}}'`)
	require.Equal(t, http.StatusNoContent, a.poll("5").code)
	require.Equal(t, http.StatusOK, a.put(`{}`).code)
}
