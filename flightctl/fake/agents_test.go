package fake_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/internal/authority"
)

const other = "00000000-0000-0000-0000-0000000000aa"

func (b *bundle) organization(id string) {
	b.t.Helper()
	b.exec(`insert into organizations (id, external_id, display_name, created_at, updated_at)
		values ($1, $2, $2, now(), now())`, id, "of "+id)
}

func TestTheSignerOfACertificateSaysWhatAnAgentMayDo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	b.organization(other)
	bootstrap := func() (authority.Pair, error) { return b.ca.Enrollment("", time.Hour) }
	plain := func(name string) func() (authority.Pair, error) {
		return func() (authority.Pair, error) { return b.ca.Client(name, time.Hour) }
	}
	const poll, requests = "/devices/web-1/rendered?knownRenderedVersion=5", "/enrollmentrequests/web-1"
	for name, c := range map[string]struct {
		with func() (authority.Pair, error)
		path string
		code int
	}{
		"device":              {b.device(org, ""), poll, 200},
		"another device":      {func() (authority.Pair, error) { return b.ca.Device("web-2", time.Hour) }, poll, 401},
		"the name alone":      {plain("device:web-1"), poll, 401},
		"bootstrap":           {bootstrap, requests, 404},
		"its name alone":      {plain("client-enrollment"), requests, 401},
		"bootstrap polls":     {bootstrap, poll, 401},
		"a device enrolls":    {b.device(org, ""), requests, 401},
		"renewed":             {b.device(org, authority.SignerRenewal), poll, 200},
		"other signer":        {b.device(org, authority.SignerBootstrap), poll, 401},
		"other organisation":  {b.device(other, ""), poll, 404},
		"none that is known":  {b.device("00000000-0000-0000-0000-0000000000bb", ""), poll, 403},
		"none that is a UUID": {b.device("x", ""), poll, 401},
	} {
		require.Equal(t, c.code, b.with(c.with())("GET", c.path, nil).code, name)
	}
	b.exec(`insert into devices (org_id, name, annotations, resource_version, created_at, updated_at, spec, status)
		select $1, name, annotations, 1, now(), now(), spec, status from devices`, other)
	require.Equal(t, 200, b.with(b.device(other, "")())("GET", poll, nil).code, "the organisation is the certificate's")
}

// device makes a certificate of web-1.
func (b *bundle) device(organisation, signer string) func() (authority.Pair, error) {
	return func() (authority.Pair, error) {
		return b.ca.DeviceOf(authority.Subject{Device: "web-1", Organisation: organisation, Signer: signer}, time.Hour)
	}
}

func TestAUserOfSeveralOrganisationsHasToNameOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 200, b.user("GET", "/auth/permissions", nil).code, "there is one only")
	b.organization(other)
	require.Equal(t, 400, b.user("GET", "/auth/permissions", nil).code)
	require.Equal(t, 200, b.user("GET", "/auth/permissions?org_id="+other, nil).code)
	for _, of := range []string{"/auth/userinfo", "/organizations"} {
		require.Equal(t, 200, b.user("GET", of, nil).code, of)
	}
	require.Contains(t, b.user("GET", "/organizations", nil).body, other)
	b.fake.SetOrganizations(other)
	require.Equal(t, 200, b.user("GET", "/auth/permissions", nil).code)
	require.Equal(t, 403, b.user("GET", "/auth/permissions?org_id="+org, nil).code)
	require.NotContains(t, b.user("GET", "/organizations", nil).body, org)
	b.fake.SetOrganizations()
	require.Equal(t, 403, b.user("GET", "/auth/permissions", nil).code)
}

func TestAnApprovalWithALabelThatIsNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.newcomer("0")
	for key, value := range map[string]string{"a b": "c", "site": "a b"} {
		err := b.client.Approve(t.Context(), org, name, map[string]string{key: value}, false)
		require.ErrorIs(t, err, flightctl.ErrRejected)
		require.ErrorContains(t, err, "a b")
	}
	require.NoError(t, b.client.Approve(t.Context(), org, name, map[string]string{"site": "a"}, false))
}

func TestAStatusIsPatched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	patch := func(path, value string) answer {
		return b.agent("web-1")("PATCH", "/devices/web-1/status",
			[]map[string]string{{"op": "replace", "path": path, "value": value}})
	}
	require.Equal(t, 200, patch("/status/config/renderedVersion", "7").code)
	require.Equal(t, "AwaitingReconnect 7", b.row("web-1").Summary+" "+b.row("web-1").Reported, "it is no reconnect")
	require.Equal(t, 400, patch("/metadata/name", "web-2").code)
	require.Equal(t, 400, patch("/status/none/there", "x").code)
	require.Equal(t, 401, b.agent("web-2")("PATCH", "/devices/web-1/status", []any{}).code)
	require.Equal(t, 404, b.agent("web-2")("PATCH", "/devices/web-2/status", []any{}).code)
}

func TestACertificateIsRenewed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ask := func(device, commonName, name, signer string) answer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		csr, err := x509.CreateCertificateRequest(rand.Reader,
			&x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}, key)
		require.NoError(t, err)
		return b.agent(device)("POST", "/certificatesigningrequests", map[string]any{
			"apiVersion": "flightctl.io/v1beta1", "kind": "CertificateSigningRequest",
			"metadata": map[string]any{"name": name}, "spec": map[string]any{
				"request":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
				"signerName": signer, "usages": []string{"clientAuth", "CA:false"},
			},
		})
	}
	require.Equal(t, 401, ask("web-1", "web-1", "web-1-a", authority.SignerRenewal).code, "a device that is not there")
	b.waiting("web-1", "5")
	b.waiting("web-2", "5")
	require.Equal(t, 400, ask("web-1", "web-2", "web-1-a", authority.SignerRenewal).code)
	require.Equal(t, 400, ask("web-1", "web-1", "web-1-a", authority.SignerEnrollment).code)
	require.Equal(t, 201, ask("web-1", "web-1", "web-1-a", authority.SignerRenewal).code)
	require.Equal(t, 409, ask("web-1", "web-1", "web-1-a", authority.SignerRenewal).code)

	got := b.agent("web-1")("GET", "/certificatesigningrequests/web-1-a", nil)
	require.Equal(t, 200, got.code)
	var request struct {
		Status struct {
			Certificate []byte
			Conditions  []struct{ Type, Status string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &request))
	require.Equal(t, "Approved True", request.Status.Conditions[0].Type+" "+request.Status.Conditions[0].Status)
	block, _ := pem.Decode(request.Status.Certificate)
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	id, err := authority.IdentityOf(certificate)
	require.NoError(t, err)
	require.Equal(t, authority.Identity{
		CommonName: "device:web-1", Signer: authority.SignerRenewal, Organisation: org,
	}, id)
	require.Equal(t, 401, b.agent("web-2")("GET", "/certificatesigningrequests/web-1-a", nil).code)
	require.Equal(t, 404, b.agent("web-1")("GET", "/certificatesigningrequests/web-1-b", nil).code)
}
