package agentapi_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/inventory"
)

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer("web-1")
	csr := n.csr()
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	good := n.request(`"7"`)
	with := func(old, replacement string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, replacement, 1)
	}
	for _, tc := range []struct{ body, says string }{
		{``, "not a JSON object"},
		{`nope`, "not a JSON object"},
		{`null`, "null"},
		{`[]`, "not a JSON object"},
		{good + good, "not a JSON object"},
		{`{}`, "kind is missing"},
		{with(`"kind":"EnrollmentRequest"`, `"kind":"Device"`), `"Device" is not`},
		{with(`"kind":"EnrollmentRequest"`, `"kind":7`), "kind is not a string"},
		{with(`"kind"`, `"Kind"`), "kind is missing"},
		{with(`"flightctl.io/v1beta1"`, `7`), "apiVersion is not a string"},
		{with(`flightctl.io/v1beta1`, `v1`), "apiVersion"},
		{with(`"metadata":{"name":"web-1"}`, `"metadata":null`), "metadata is not"},
		{with(`"metadata":{"name":"web-1"}`, `"metadata":{}`), "metadata.name is missing"},
		{with(`"name":"web-1"`, `"name":""`), "not a name"},
		{with(`"name":"web-1"`, `"name":"Web_1"`), "not a name"},
		{with(`"name":"web-1"`, `"name":"`+strings.Repeat("a", 254)+`"`), "not a name"},
		{with(`"name":"web-1"`, `"name":"web-1\u0000"`), "not a name"},
		{with(`"name":"web-1"`, `"name":"web-2"`), `a certificate of "web-1"`},
		{with(`"name":"web-1"`, `"name":"web-1","labels":{"site":7}`), "metadata.labels.site is not a string"},
		{with(`"name":"web-1"`, `"name":"web-1","labels":{"a b":"c"}`), "not a label"},
		{with(`"spec":{`, `"spec":null,"x":{`), "spec is not"},
		{with(`"csr"`, `"CSR"`), "spec.csr is missing"},
		{requestBody("web-1", "hello", ""), "its spec.csr is not accepted"},
		{requestBody("web-1", tpmRequest, ""), "it comes from a TPM, and only Flight Control's own server signs"},
		{requestBody("web-1", csr+csr, ""), "more behind"},
		{requestBody("web-1", strings.ReplaceAll(csr, "CERTIFICATE REQUEST", "CERTIFICATE"), ""), "CERTIFICATE"},
		{requestBody("web-1", brokenSignature(t, csr), ""), "signature"},
		{requestBody("web-1", csrOf(t, "web-1", weak), ""), "not an ECDSA key"},
		{requestBody("web-1", csrOf(t, "", n.key), ""), `a certificate of ""`},
		{with(`"labels":{"site":"berlin"}`, `"labels":[]`), "spec.labels is not"},
		{with(`"deviceStatus":{`, `"deviceStatus":7,"x":{`), "spec.deviceStatus is not"},
		{with(`"bootID":"b"`, `"bootID":"\u0000"`), "cannot be stored"},
		{with(`"bootID":"b"`, "\"bootID\":\"\xff\""), "invalid UTF-8"},
		{with(`"bootID":"b"`, `"bootID":`+deep(20_000)), "more than 64 levels"},
		{with(`"bootID":"b"`, `"bootID":1e131071`), "exponent is beyond 400"},
		{with(`"bootID":"b"`, `"bootID":["\u0000",1e131071]`), "exponent is beyond 400"},
		{n.request(`"7\u0000"`), "cannot be stored"},
		{n.request(`{}`), "neither a string nor a number"},
		{n.request(`true`), "neither a string nor a number"},
		{n.request(`["7"]`), "neither a string nor a number"},
	} {
		requireStatus(t, n.do(http.MethodPost, requestsPath, tc.body), http.StatusBadRequest, tc.says)
	}
	require.Zero(t, b.count(`select count(*) from enrollment_requests`))
	require.Zero(t, b.count(`select count(*) from rollcall.request_keys`))
	require.Empty(t, b.signals.enrollments())

	requireStatus(t, n.do(http.MethodGet, requestsPath, ""), http.StatusMethodNotAllowed, "POST")
	requireStatus(t, n.do(http.MethodPost, requestsPath+"/web-1", good), http.StatusMethodNotAllowed, "GET")
	require.Equal(t, http.StatusMethodNotAllowed, n.do(http.MethodHead, requestsPath+"/web-1", "").code)
	requireStatus(t, n.do(http.MethodGet, requestsPath+"/web-1", "a body"), http.StatusBadRequest, "no body")
	requireStatus(t, n.do(http.MethodGet, requestsPath+"/web-1%00", ""), http.StatusBadRequest, "not a name")
	requireStatus(t, n.do(http.MethodGet, requestsPath+"/web-1/else", ""), http.StatusNotImplemented, "no such call")
	for _, known := range []string{`""`, `0`, `null`, `"9223372036854775807"`, ``} {
		got := n.post(known)
		require.Contains(t, []int{http.StatusCreated, http.StatusConflict}, got.code, got.body)
	}
}

// brokenSignature is a signing request whose last byte, of the signature, is another.
func brokenSignature(t *testing.T, csr string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(csr), "\n")
	der, err := base64.StdEncoding.DecodeString(strings.Join(lines[1:len(lines)-1], ""))
	require.NoError(t, err)
	der[len(der)-1] ^= 1
	return fmt.Sprintf("%s\n%s\n%s\n", lines[0], base64.StdEncoding.EncodeToString(der), lines[len(lines)-1])
}

func TestARequestThatIsTooLargeOrTooSlow(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.BodyTimeout = 100 * time.Millisecond })
	n := b.newcomer()
	large := strings.Repeat("x", 64<<10+1)
	requireStatus(t, n.do(http.MethodPost, requestsPath, large), http.StatusRequestEntityTooLarge, "65536")
	slow, write := io.Pipe()
	defer write.Close()
	go func() { _, _ = write.Write([]byte(`{"kind":`)) }()
	got, err := n.try(http.MethodPost, requestsPath, slow)
	require.NoError(t, err)
	requireStatus(t, got, http.StatusRequestTimeout, "did not come")
}

// A flood of agents that enroll, with a database that stands still for them, leaves room for the devices that poll.
func TestAFloodOfRequestsLeavesRoomForDevices(t *testing.T) {
	t.Parallel()
	const open, fromOne = 30, 20
	b := newBench(t, func(c *agentapi.Config) { c.OpenEnrollments, c.OpenPerSource = open, fromOne })
	b.give(map[string]string{"web-1": "5"})
	other, err := inventory.Open(t.Context(), b.url)
	require.NoError(t, err)
	defer other.Close()
	tx, err := other.DB().Beginx()
	require.NoError(t, err)
	_, err = tx.Exec(`lock table enrollment_requests in share mode`) // devices read there which key was approved
	require.NoError(t, err)
	answers := make(chan answer, 2*fromOne)
	for range 2 * fromOne {
		n := b.newcomer()
		body := n.request("")
		go func() {
			got, err := n.try(http.MethodPost, requestsPath, strings.NewReader(body))
			if err != nil {
				got.body = err.Error()
			}
			answers <- got
		}()
	}
	for range fromOne { // no more than these are let in
		requireStatus(t, <-answers, http.StatusTooManyRequests, "open from 127.0.0.1")
	}
	require.Eventually(t, func() bool {
		var waiting int
		err := other.DB().Get(&waiting,
			`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
		return err == nil && waiting >= 8
	}, waitLimit, 5*time.Millisecond)
	require.Equal(t, http.StatusOK, b.agent("web-1").put(`{}`).code)
	require.Empty(t, answers, "the device is answered while they still wait")
	require.NoError(t, tx.Rollback())
	for range fromOne {
		got := <-answers
		require.Contains(t, []int{http.StatusCreated, http.StatusServiceUnavailable}, got.code, got.body)
	}
	requirePending(t, b.newcomer().post(""), http.StatusCreated)
}

// tpmRequest is the beginning of a TPM's signing request, in base64.
const tpmRequest = "AQABAAAAAEAAAABGAAAAAAAAAAAAAAAAAAAAAAAAAAA="
