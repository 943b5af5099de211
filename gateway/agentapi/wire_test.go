package agentapi_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/runbook"
)

// The codes and words on which the agents of Flight Control branch. Each test here is one of them.

func TestAgentsOfAllReleasesEnroll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, version := range []string{
		`"apiVersion":"v1beta1",`, `"apiVersion":"v1alpha1",`, `"apiVersion":"flightctl.io/v1beta1",`, `"apiVersion":"",`, ``,
	} {
		n := b.newcomer()
		body := strings.Replace(n.request(""), `"apiVersion":"flightctl.io/v1beta1",`, version, 1)
		requirePending(t, n.do(http.MethodPost, requestsPath, body), http.StatusCreated)
	}
}

// An agent goes on after 201 and 409. After a 200 it would post its request for ever.
func TestAnAgentThatPostsAgainGoesOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	require.Equal(t, http.StatusCreated, n.post("").code)
	require.Equal(t, http.StatusConflict, n.post("").code, "while it is pending")
	b.decided(n.name)
	require.Equal(t, http.StatusConflict, n.post("").code, "once it is approved")
	requireApproved(t, n.get())
}

// An agent that is refused posts its request for ever. A version that cannot be read is not zero, so that its device
// waits.
func TestAnAgentWhoseVersionCannotBeReadEnrollsAndWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, known := range []string{
		`"abc"`, `" 7"`, `"+7"`, `-1`, `"007"`, `"00"`, `7.0`, `9223372036854775808`, `"٧"`, `"\u009b7"`,
		`"` + strings.Repeat("7", 1000) + `"`,
	} {
		n := b.newcomer()
		requirePending(t, n.post(known), http.StatusCreated)
		n.requireThere(n.post(known))
		require.Equal(t, runbook.StateAwaitingReconnect, b.position(n.name).Begins, known)
		b.decided(n.name)
		a := n.admitted(requireApproved(t, n.get()).Status.Certificate)
		require.Equal(t, http.StatusNoContent, a.poll("0").code, "it is served nothing")
	}
	require.Equal(t, 11, b.count(`select count(*) from devices where annotations ->> '`+
		runbook.AnnotationAwaitingReconnect+`' = 'true'`))
	require.Zero(t, b.count(`select count(*) from events where length(message) > 200 or message ~ '\u009b'`))
}

// isAbsent is how an agent reads an answer to its poll.
func isAbsent(got answer) bool {
	return got.code == http.StatusNotFound && saysAbsent(got)
}

func saysAbsent(got answer) bool {
	return strings.Contains(got.body, "Device of name") && strings.Contains(got.body, "not found")
}

func TestTheWordsThatMakeAnAgentEnrollAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	gone, here := b.agent("gone"), b.agent("web-1")
	got := gone.poll("5")
	require.True(t, isAbsent(got), got.body)
	require.Contains(t, got.body, `Device of name \"gone\" not found`)
	require.True(t, isAbsent(gone.put(`{}`)))

	const words = "Device%20of%20name%20x%20not%20found"
	for _, got := range []answer{
		here.poll("5"), here.poll(words), here.do(http.MethodGet, "/api/v1/devices/"+words+"/rendered", ""),
		here.do(http.MethodGet, "/"+words, ""), here.put(`{"config":{"renderedVersion":"Device of name x not found"}}`),
		here.do(http.MethodGet, requestsPath+"/"+words, ""), b.newcomer().get(), b.newcomer(words).get(),
	} {
		require.False(t, saysAbsent(got), got.body)
	}
	require.NoError(t, b.serving.Close())
	got = gone.poll("5")
	require.Equal(t, http.StatusServiceUnavailable, got.code)
	require.False(t, saysAbsent(got))
}

func (a *agent) patch(operations string) answer {
	a.t.Helper()
	got, err := a.send(http.MethodPatch, "/api/v1/devices/"+a.name+"/status", "application/json-patch+json",
		strings.NewReader(operations))
	require.NoError(a.t, err)
	return got
}

func TestAnAgentPatchesItsStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	device := served(t,
		a.patch(`[{"op":"add","path":"/status/own","value":[1.50]},{"op":"replace","path":"/status/summary/status","value":"Degraded"}]`))
	require.Contains(t, string(device.Status), `"Degraded"`)
	stored := *b.text(`select status::text from devices`)
	require.Contains(t, stored, `1.50`)
	require.Contains(t, stored, `"renderedVersion": "5"`, "the rest stays")
	for body, says := range map[string]string{
		`{}`: "not a JSON patch", `[{"op":"remove","path":"/status/none"}]`: "cannot be applied",
		`[{"op":"test","path":"/status/summary/status","value":"Online"}]`:            "cannot be applied",
		`[{"op":"replace","path":"/metadata/name","value":"web-2"}]`:                  "metadata.name",
		`[{"op":"remove","path":"/status"}]`:                                          "no status",
		`[{"op":"add","path":"/status/a","value":"\u0000"}]`:                          "cannot be stored",
		`[{"op":"replace","path":"/status/config","value":{"renderedVersion":"+7"}}]`: "is not a version",
	} {
		requireStatus(t, a.patch(body), http.StatusBadRequest, says)
	}
	requireStatus(t, a.do(http.MethodPatch, "/api/v1/devices/web-1/status", `[]`), http.StatusUnsupportedMediaType,
		"json-patch")
	require.True(t, isAbsent(b.agent("gone").patch(`[]`)))
}

// Each patch is within bounds, and what they make together is not.
func TestPatchesThatAddUpAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	fields := func(name string) string {
		var many []string
		for i := range 3_000 {
			many = append(many, fmt.Sprintf(`"f%d":1`, i))
		}
		return fmt.Sprintf(`[{"op":"add","path":"/status/%s","value":{%s}}]`, name, strings.Join(many, ","))
	}
	served(t, a.patch(fields("a")))
	requireStatus(t, a.patch(fields("b")), http.StatusBadRequest, "more than 5000 fields")
}

// The version in the stored status is the backup's until the agent has said another.
func TestAPatchThatSetsNoVersionIsNoReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	device := served(t, a.patch(`[{"op":"add","path":"/status/own","value":1}]`))
	require.Contains(t, string(device.Status), string(runbook.StateAwaitingReconnect))
	require.Empty(t, b.signals.versions())
	require.Zero(t, b.count(`select count(*) from device_timestamps where last_seen is not null`),
		"nor is it seen with the backup's version")
	served(t, a.patch(`[{"op":"replace","path":"/status/config/renderedVersion","value":"7"}]`))
	require.Equal(t, []string{"7"}, b.signals.versions())
	require.Equal(t, 1, b.count(`select count(*) from device_timestamps where last_seen is not null`))
}

// An agent that runs on unchanged puts no status. Its polls alone say that it is there.
func TestEachPollMovesLastSeen(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.SeenEvery = 10 * time.Millisecond })
	b.give(map[string]string{"web-1": "5", "web-2": "5"})
	a := b.agent("web-1")
	seen := func() (at *time.Time) {
		require.NoError(t, b.store.DB().Get(&at, `select last_seen from device_timestamps where name = 'web-1'`))
		return at
	}
	require.Nil(t, seen())
	a.poll("5")
	require.Eventually(t, func() bool { return seen() != nil }, waitLimit, 5*time.Millisecond)
	first := *seen()
	a.poll("5")
	require.Eventually(t, func() bool { return seen().After(first) }, waitLimit, 5*time.Millisecond)
	require.Equal(t, 1, b.count(`select count(*) from device_timestamps where last_seen is not null`))
}

// A poll is held for minutes. What counts is when it began.
func TestLastSeenIsWhenAPollBegan(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.SeenEvery = 10 * time.Millisecond })
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	b.reconnect("r1", "web-1", "7")
	b.agent("web-1").polling("7")
	seen := func() *string { return b.text(`select last_seen::text from device_timestamps`) }
	require.Eventually(t, func() bool { return seen() != nil }, waitLimit, 5*time.Millisecond, "while it is held")
	began := *seen()
	b.stop()
	require.Equal(t, began, *seen())
}

func TestTheLastPollsAreStoredAtTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.agent("web-1").poll("5")
	b.stop()
	require.Equal(t, 1, b.count(`select count(*) from device_timestamps where last_seen is not null`))
}

// renewalBody is a request to renew a certificate as agents write it; csr is the PEM.
func renewalBody(name, signer, csr string) string {
	return fmt.Sprintf(`{"apiVersion":"v1beta1","kind":"CertificateSigningRequest","metadata":{"name":%q},"spec":{"request":%q,"signerName":%q,"usages":["clientAuth","CA:false"]}}`,
		name, base64.StdEncoding.EncodeToString([]byte(csr)), signer)
}

const renewalsPath = "/api/v1/certificatesigningrequests"

func TestAnAgentRenewsItsCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n, other := b.newcomer("web-1"), b.agent("web-2")
	b.give(map[string]string{"web-2": "5"})
	a := n.enrolled()
	got := a.do(http.MethodPost, renewalsPath, renewalBody("web-1-0a1b2c3d", authority.SignerRenewal, n.csr()))
	require.Equal(t, http.StatusCreated, got.code, got.body)
	got = a.do(http.MethodGet, renewalsPath+"/web-1-0a1b2c3d", "")
	require.Equal(t, http.StatusOK, got.code, got.body)
	var request struct {
		Kind   string
		Status struct {
			Certificate []byte
			Conditions  []struct{ Type, Status string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &request))
	require.Equal(t, "CertificateSigningRequest", request.Kind)
	require.Equal(t, []struct{ Type, Status string }{{"Approved", "True"}}, request.Status.Conditions)
	id := identityOf(t, string(request.Status.Certificate))
	require.Equal(t,
		authority.Identity{CommonName: "device:web-1", Signer: authority.SignerRenewal, Organisation: runbook.DefaultOrgID},
		id)
	renewed := n.admitted(string(request.Status.Certificate))
	require.Less(t, renewed.poll("5").code, 300)
	again := renewed.do(http.MethodPost, renewalsPath,
		renewalBody("web-1-0a1b2c3e", authority.SignerRenewal, "device:"+n.csr()))
	requireStatus(t, again, http.StatusBadRequest, "spec.request cannot be signed")
	require.Equal(t, http.StatusCreated, renewed.do(http.MethodPost, renewalsPath,
		renewalBody("web-1-0a1b2c3e", authority.SignerRenewal, csrOf(t, "device:web-1", n.key))).code)

	requireStatus(t, other.do(http.MethodGet, renewalsPath+"/web-1-0a1b2c3e", ""), http.StatusNotFound, "web-2")
	for body, want := range map[string]struct {
		code int
		says string
	}{
		renewalBody("web-2-0a1b2c3d", authority.SignerRenewal,
			n.csr()): {http.StatusForbidden, `certificate of "web-1"`},
		renewalBody("web-1-0a1b2c3d", authority.SignerRenewal,
			csrOf(t, "web-2", n.key)): {http.StatusBadRequest, "metadata.name"},
		renewalBody("web-2-0a1b2c3d", authority.SignerEnrollment,
			csrOf(t, "web-2", n.key)): {http.StatusBadRequest, "does not sign here"},
		renewalBody("web-2-0a1b2c3d", "flightctl.io/device-svc-client",
			n.csr()): {http.StatusBadRequest, "does not sign here"},
		strings.Replace(renewalBody("web-2-a", authority.SignerRenewal, csrOf(t, "web-2", n.key)), "CA:false", "CA:true",
			1): {http.StatusBadRequest, "CA:true"},
	} {
		requireStatus(t, other.do(http.MethodPost, renewalsPath, body), want.code, want.says)
	}
	requireStatus(t, n.do(http.MethodPost, renewalsPath, renewalBody("web-1-a", authority.SignerRenewal, n.csr())),
		http.StatusForbidden, "names no device")
	require.True(t,
		isAbsent(b.agent("gone").do(http.MethodPost, renewalsPath,
			renewalBody("gone-a", authority.SignerRenewal, csrOf(t, "gone", n.key)))))
}

// What else a request to renew may say, and where none is answered.
func TestWhatARenewalMayAskFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer("web-1")
	a := n.enrolled()
	body := func(name, old, replacement string) string {
		body := renewalBody(name, authority.SignerRenewal, n.csr())
		require.Contains(t, body, old)
		return strings.Replace(body, old, replacement, 1)
	}
	year := 365 * 24 * time.Hour
	for suffix, tc := range map[string]struct {
		seconds string
		want    time.Duration
	}{"shorter": {"3600", time.Hour}, "longer": {"999999999", year}, "none": {"null", year}} {
		got := a.do(http.MethodPost, renewalsPath,
			body("web-1-"+suffix, `"usages"`, `"expirationSeconds":`+tc.seconds+`,"usages"`))
		require.Equal(t, http.StatusCreated, got.code, got.body)
		var request struct{ Status struct{ Certificate []byte } }
		require.NoError(t, json.Unmarshal([]byte(got.body), &request))
		block, _ := pem.Decode(request.Status.Certificate)
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(tc.want), cert.NotAfter, time.Minute, suffix)
	}
	for _, tc := range []struct {
		body, says string
		code       int
	}{
		{body("web-1-a", `"usages"`, `"expirationSeconds":0,"usages"`), "is no lifetime", http.StatusBadRequest},
		{body("web-1-a", `CertificateSigningRequest`, `EnrollmentRequest`), "is not a Cert", http.StatusBadRequest},
		{body("web-1-a", `"v1beta1"`, `"certificates.k8s.io/v1"`), "is not a Cert", http.StatusBadRequest},
		{body("web-1-twice", `"usages"`, `"x":1,"usages"`), "is there already", http.StatusConflict},
	} {
		if tc.code == http.StatusConflict {
			require.Equal(t, http.StatusCreated, a.do(http.MethodPost, renewalsPath, renewalBody("web-1-twice",
				authority.SignerRenewal, n.csr())).code)
		}
		requireStatus(t, a.do(http.MethodPost, renewalsPath, tc.body), tc.code, tc.says)
	}

	b = newBench(t, func(c *agentapi.Config) { c.CA = nil })
	b.give(map[string]string{"web-1": "5"})
	a = b.agent("web-1")
	requireStatus(t, a.do(http.MethodPost, renewalsPath, renewalBody("web-1-a", authority.SignerRenewal, n.csr())),
		http.StatusNotImplemented, "no authority's key")
	b = newBench(t, func(c *agentapi.Config) { c.PlainHTTP, c.CA, c.Certificate, c.ClientCAs = true, nil, nil, nil })
	response, err := http.Get("http://" + b.gateway.Address() + renewalsPath + "/web-1-a")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}

func identityOf(t *testing.T, text string) authority.Identity {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	id, err := authority.IdentityOf(cert)
	require.NoError(t, err)
	return id
}

// Flight Control's own server locks an agent out whose certificate has no signer.
func TestCertificatesCarryTheExtensionsOfFlightControl(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	n.post("")
	b.decided(n.name)
	text := requireApproved(t, n.get()).Status.Certificate
	require.Equal(t,
		authority.Identity{
			CommonName: "device:" + n.name, Signer: authority.SignerEnrollment, Organisation: runbook.DefaultOrgID,
		}, identityOf(t, text))
}

// What a certificate does not say does not count against it.
func TestACertificateWithoutExtensionsActs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	pair, err := b.ca.Client("device:web-1", lifetime)
	require.NoError(t, err)
	a := &agent{bench: b, name: "web-1", http: b.client(pair)}
	require.Less(t, a.poll("5").code, 300)
	require.Equal(t, http.StatusOK, a.put(`{}`).code)
	pair, err = b.ca.Client("client-enrollment", lifetime)
	require.NoError(t, err)
	n := b.newcomer()
	n.http = b.client(pair)
	requirePending(t, n.post(""), http.StatusCreated)
}

func TestTheOrganisationInACertificateCounts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	const other = "00000000-0000-0000-0000-0000000000aa"
	pair, err := b.ca.DeviceOf(authority.Subject{Device: "web-1", Organisation: other}, lifetime)
	require.NoError(t, err)
	a := &agent{bench: b, name: "web-1", http: b.client(pair)}
	requireStatus(t, a.poll("5"), http.StatusForbidden, other)
	requireStatus(t, a.put(`{}`), http.StatusForbidden, other)
	pair, err = b.ca.EnrollmentOf(other, "", lifetime)
	require.NoError(t, err)
	n := b.newcomer()
	n.http = b.client(pair)
	requireStatus(t, n.post(""), http.StatusForbidden, other)
	pair, err = b.ca.DeviceOf(authority.Subject{Device: "web-1", Signer: "flightctl.io/device-svc-client"}, lifetime)
	require.NoError(t, err)
	a.http = b.client(pair)
	requireStatus(t, a.poll("5"), http.StatusForbidden, "other purposes")
}
