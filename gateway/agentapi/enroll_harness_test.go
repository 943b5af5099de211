package agentapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

const requestsPath = "/api/v1/enrollmentrequests"

// newcomer is an agent with a key of its own and the bootstrap certificate that all share.
type newcomer struct {
	*agent
	key *ecdsa.PrivateKey
}

// newcomer is one whose name is the hash of its key, or the one given.
func (b *bench) newcomer(name ...string) *newcomer {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b.t, err)
	called, err := authority.DeviceName(key.Public())
	require.NoError(b.t, err)
	if len(name) > 0 {
		called = name[0]
	}
	pair, err := b.ca.Enrollment("", lifetime)
	require.NoError(b.t, err)
	return &newcomer{agent: &agent{bench: b, name: called, http: b.client(pair)}, key: key}
}

// rekeyed is the same device, as far as its name says, with another key.
func (n *newcomer) rekeyed() *newcomer { return n.newcomer(n.name) }

func (n *newcomer) csr() string {
	n.t.Helper()
	return csrOf(n.t, n.name, n.key)
}

func csrOf(t testing.TB, name string, key any) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// request is the body of a request that says this version, in JSON; empty is none.
func (n *newcomer) request(known string) string {
	return requestBody(n.name, n.csr(), known)
}

func requestBody(name, csr, known string) string {
	if known != "" {
		known = `,"knownRenderedVersion":` + known
	}
	return fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"EnrollmentRequest","metadata":{"name":%q},`+
		`"spec":{"csr":%q,"deviceStatus":{"systemInfo":{"bootID":"b"}},"labels":{"site":"berlin"}%s}}`, name, csr, known)
}

func (n *newcomer) post(known string) answer {
	n.t.Helper()
	return n.do(http.MethodPost, requestsPath, n.request(known))
}

func (n *newcomer) get() answer {
	n.t.Helper()
	return n.do(http.MethodGet, requestsPath+"/"+n.name, "")
}

// seen is a request as an agent reads it.
type seen struct {
	inventory.Resource
	Status struct {
		Conditions  []struct{ Type, Status, Reason, Message, LastTransitionTime string }
		Certificate string
		Approval    *struct {
			Approved   bool
			ApprovedBy string
		}
	} `json:"status"`
}

// requireRequest reads the request of an answer, as agents do: without a list of conditions they fail.
func requireRequest(t testing.TB, got answer, code int) (s seen) {
	t.Helper()
	require.Equal(t, code, got.code, got.body)
	require.Contains(t, got.body, `"conditions":[`)
	require.NoError(t, json.Unmarshal([]byte(got.body), &s))
	require.Equal(t, inventory.KindEnrollmentRequest, s.Kind)
	require.Equal(t, inventory.APIVersion, s.APIVersion)
	return s
}

func requirePending(t testing.TB, got answer, code int) seen {
	t.Helper()
	s := requireRequest(t, got, code)
	require.Empty(t, s.Status.Conditions)
	require.Empty(t, s.Status.Certificate)
	require.Nil(t, s.Status.Approval)
	return s
}

// requireThere is the answer to an agent that posts its request again, which then reads it.
func (n *newcomer) requireThere(got answer) seen {
	n.t.Helper()
	requireStatus(n.t, got, http.StatusConflict, "is there already")
	return requirePending(n.t, n.get(), http.StatusOK)
}

func requireApproved(t *testing.T, got answer) seen {
	t.Helper()
	s := requireRequest(t, got, http.StatusOK)
	require.Len(t, s.Status.Conditions, 1, got.body)
	require.Equal(t, "Approved", s.Status.Conditions[0].Type)
	require.NotEmpty(t, s.Status.Certificate)
	return s
}

// admitted is the agent of the device, with the certificate that it has been given.
func (n *newcomer) admitted(certificate string) *agent {
	n.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(n.key)
	require.NoError(n.t, err)
	pair := authority.Pair{Cert: []byte(certificate), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	_, err = tls.X509KeyPair(pair.Cert, pair.Key)
	require.NoError(n.t, err)
	return &agent{bench: n.bench, name: n.name, http: n.client(pair)}
}

// approve decides as an operator does, by an update to the request's workflow.
func (b *bench) approve(c client.Client, name string) (decision runbook.EnrollmentDecision) {
	b.t.Helper()
	handle, err := c.UpdateWorkflow(b.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, name), UpdateName: runbook.UpdateApprove,
		Args: []any{runbook.ApproveRequest{By: "alice"}}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(b.t, err)
	require.NoError(b.t, handle.Get(b.t.Context(), &decision))
	return decision
}

// decided is an approval that needs no workflow.
func (b *bench) decided(name string) {
	b.t.Helper()
	d, err := b.store.Approve(b.t.Context(), inventory.ApproveInput{OrgID: runbook.DefaultOrgID, Name: name, By: "alice"})
	require.NoError(b.t, err)
	require.True(b.t, d.Applied, d.Refusal)
}

func (b *bench) denied(name string) {
	b.t.Helper()
	d, err := b.store.Deny(b.t.Context(),
		inventory.DenyInput{OrgID: runbook.DefaultOrgID, Name: name, By: "alice", Reason: "not ours"})
	require.NoError(b.t, err)
	require.True(b.t, d.Applied, d.Refusal)
}

// standing is where the request of that name stands.
func (b *bench) position(name string) inventory.EnrollmentPosition {
	b.t.Helper()
	found, err := b.store.Enrollments(b.t.Context(), inventory.Query{Names: []string{name}})
	require.NoError(b.t, err)
	require.Len(b.t, found, 1)
	return found[0]
}

// runs are the run ids of a request's workflow, the newest first.
func (b *bench) runs(c client.Client, name string) (ids []string) {
	b.t.Helper()
	query := fmt.Sprintf("WorkflowId = %q", runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, name))
	found, err := c.ListWorkflow(b.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: query})
	require.NoError(b.t, err)
	for _, e := range found.Executions {
		ids = append(ids, e.Execution.RunId)
	}
	return ids
}

func (b *bench) count(query string) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.store.DB().Get(&n, query))
	return n
}

// requestSpec is the spec of a body.
func requestSpec(t *testing.T, body string) string {
	t.Helper()
	var request struct{ Spec json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(body), &request))
	return string(request.Spec)
}
