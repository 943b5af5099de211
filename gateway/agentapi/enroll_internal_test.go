package agentapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestTheCallsOfOneAddressDoNotShutOutAnother(t *testing.T) {
	t.Parallel()
	e := newEnrolls(600)
	cfg := Config{OpenEnrollments: 3, OpenPerSource: 2}
	from := func(address string) (func(), int) {
		leave, err := e.enter(&http.Request{RemoteAddr: address}, cfg)
		if err != nil {
			return nil, asProblem(err).code
		}
		return leave, http.StatusOK
	}
	_, code := from("192.0.2.1:1")
	require.Equal(t, http.StatusOK, code)
	leave, code := from("192.0.2.1:2")
	require.Equal(t, http.StatusOK, code)
	_, code = from("192.0.2.1:3")
	require.Equal(t, http.StatusTooManyRequests, code)
	_, code = from("[2001:db8::1]:1")
	require.Equal(t, http.StatusOK, code)
	_, code = from("192.0.2.3:1")
	require.Equal(t, http.StatusTooManyRequests, code, "too many in all")
	leave()
	_, code = from("192.0.2.3:1")
	require.Equal(t, http.StatusOK, code)
}

func TestWhatIsRecentIsForgotten(t *testing.T) {
	t.Parallel()
	var r recent
	now := time.Now()
	require.False(t, r.since("a", now, time.Minute))
	r.keep("a", now)
	require.True(t, r.since("a", now.Add(59*time.Second), time.Minute))
	require.False(t, r.since("b", now, time.Minute))
	require.False(t, r.since("a", now.Add(time.Minute), time.Minute))
	r.sweep(now.Add(time.Minute), time.Minute)
	require.Empty(t, r.at)
}

func TestWhatAnAgentIsShown(t *testing.T) {
	t.Parallel()
	const approval = `"approval":{"approved":true},"conditions":[{"type":"Seen"},{"type":"Approved","status":"True"}]`
	for name, tc := range map[string]struct {
		state               runbook.EnrollmentState
		certificate, status string
		want                string
	}{
		"no status":       {runbook.EnrollmentPending, "", ``, `{"conditions":[]}`},
		"null":            {runbook.EnrollmentPending, "", `null`, `{"conditions":[]}`},
		"no object":       {runbook.EnrollmentPending, "", `7`, `{"conditions":[]}`},
		"no conditions":   {runbook.EnrollmentPending, "", `{"a":1.50}`, `{"a":1.50,"conditions":[]}`},
		"conditions null": {runbook.EnrollmentPending, "", `{"conditions":null}`, `{"conditions":[]}`},
		"no list":         {runbook.EnrollmentPending, "", `{"conditions":{}}`, `{"conditions":[]}`},
		"approved with a certificate": {
			runbook.EnrollmentApproved, "x", `{"certificate":"x",` + approval + `}`, `{"certificate":"x",` + approval + `}`,
		},
		"approved, not signed": {
			runbook.EnrollmentApproved, "", `{` + approval + `}`, `{"conditions":[{"type":"Seen"}]}`,
		},
		"approved without a condition": {
			runbook.EnrollmentApproved, "", `{"approval":{"approved":true}}`, `{"conditions":[]}`,
		},
		"denied": {
			runbook.EnrollmentDenied, "", `{"conditions":[{"type":"Denied"}]}`, `{"conditions":[{"type":"Denied"}]}`,
		},
		"conditions that are no object": {runbook.EnrollmentApproved, "", `{"conditions":[7]}`, `{"conditions":[7]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := inventory.AgentRequest{State: tc.state, Certificate: tc.certificate}
			r.Status = json.RawMessage(tc.status)
			require.JSONEq(t, tc.want, string(shown(r).Status))
		})
	}
}

// Whatever comes as a body is refused with a 400, or is a request that can be signed, with labels.
func FuzzDecodeRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "web-1"}}, key)
	require.NoError(f, err)
	csr := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	whole := func(known string) string {
		return fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"EnrollmentRequest","metadata":{"name":"web-1","labels":{"a":"b"}},
			"spec":{"csr":%q,"deviceStatus":{"a":[1.5]},"labels":{"site":"berlin"},"knownRenderedVersion":%s}}`, csr, known)
	}
	for _, body := range []string{
		``, `null`, `{}`, `[]`, whole(`"7"`), whole(`7`), whole(`null`), whole(`7e0`), whole(`"007"`), whole(`{}`),
		whole(`"٧"`),
		strings.Replace(whole(`1`), "web-1", "web-2", 1), strings.Replace(whole(`1`), `"kind"`, `"KIND"`, 1),
		strings.Replace(whole(`1`), `"spec"`, `"spec":{},"spec"`, 1), strings.Replace(whole(`1`), "M", "N", 1),
		strings.Replace(whole(`1`), `{"a":"b"}`, `null`, 1), strings.Replace(whole(`1`), `[1.5]`, `"\u0000"`, 1),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := decodeRequest(body)
		if err != nil {
			require.Equal(t, http.StatusBadRequest, asProblem(err).code)
			return
		}
		request, err := authority.ReadRequest(in.CSR)
		require.NoError(t, err)
		require.Equal(t, in.Name, request.CommonName())
		var spec struct {
			CSR string `json:"csr"`
		}
		require.NoError(t, json.Unmarshal(in.Spec, &spec))
		require.NotContains(t, in.Name, "\x00")
	})
}
