package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/internal/invariants"
	"rollcall/inventory"
	"rollcall/runbook"
)

// enrolls posts the request of a new key to Flight Control, as an agent does, and returns its name.
func (c *controlled) enrolls(version string) string {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(c.t, err)
	name, err := authority.DeviceName(key.Public())
	require.NoError(c.t, err)
	asked := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	csr, err := x509.CreateCertificateRequest(rand.Reader, asked, key)
	require.NoError(c.t, err)
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name}, "spec": map[string]any{
		"csr":                  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		"knownRenderedVersion": version,
	}})
	require.NoError(c.t, err)
	res, err := c.with(c.ca.Enrollment("", time.Hour)).Post(
		c.fake.AgentURL()+"/api/v1/enrollmentrequests", "application/json", strings.NewReader(string(body)))
	require.NoError(c.t, err)
	require.NoError(c.t, res.Body.Close())
	require.Equal(c.t, http.StatusCreated, res.StatusCode)
	return name
}

func TestAnApprovalOfFlightControlThatDiesIsShown(t *testing.T) {
	t.Parallel()
	c := newAwaited(t)
	name := c.enrolls("7")
	c.eventually("the watch starts its workflow", func() bool { return c.runs(enrollmentID(name)) })
	c.fake.Kill(fake.ApproveAfterDevice, 1)
	answer := make(chan runbook.EnrollmentDecision, 1)
	go func() { answer <- c.approve(name, "alice") }()
	c.eventually("the device is there", func() bool {
		var made bool
		require.NoError(t, c.owner.DB().GetContext(t.Context(), &made,
			`select exists (select from devices where name = $1)`, name))
		return made
	})
	appeared, err := c.owner.Appeared(t.Context(), "r1")
	require.NoError(t, err)
	require.Empty(t, appeared, "no one waits for an agent without a certificate")
	for _, statement := range []string{
		`alter table rollcall.transitions disable trigger transitions_append_only`,
		`update rollcall.transitions set at = now() - interval '1 hour' where transition = 'Decided'`,
		`alter table rollcall.transitions enable trigger transitions_append_only`,
		`update devices set created_at = now() - interval '1 hour' where name <> 'web-1'`,
	} {
		_, err := c.owner.DB().ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	refused := <-answer
	require.Equal(t, runbook.CodeDeviceExists, refused.Code)
	require.Contains(t, refused.Message, "flightctl delete device/"+name)

	// As it says. Flight Control deletes the request with the device, and the agent enrolls with another one.
	for _, table := range []string{"devices", "enrollment_requests"} {
		_, err = c.owner.DB().ExecContext(t.Context(), `delete from `+table+` where name = $1`, name)
		require.NoError(t, err)
	}
	name = c.enrolls("7")
	c.eventually("the watch starts the workflow of that one", func() bool { return c.runs(enrollmentID(name)) })
	approved := c.approve(name, "bob")
	require.True(t, approved.Accepted, approved.Message)
	require.Equal(t, "r1", approved.RestoreID)
	c.polls("web-1", "5", runbook.StateNormal)
	c.polls(name, "7", runbook.StateConflictPaused)
	c.await(name, runbook.StateConflictPaused)
	_, err = c.resume(name, "u1", runbook.ResumeRequest{By: "bob"})
	require.NoError(t, err)
	c.rendered(name, "8")
	c.fcReports(name, "8")
	require.EqualValues(t, 2, c.completes().Total)
}

// A request that is approved in Flight Control itself: the restore waits for its device all the same.
func TestADeviceThatIsApprovedInFlightControlJoinsTheRoll(t *testing.T) {
	t.Parallel()
	c := newAwaited(t)
	ahead, empty := c.enrolls("7"), c.enrolls("7")
	for _, name := range []string{ahead, empty} {
		require.NoError(t, c.beside.Approve(t.Context(), runbook.DefaultOrgID, name, nil, false))
		c.await(name, runbook.StateAwaitingReconnect)
	}
	c.polls("web-1", "5", runbook.StateNormal)
	require.Equal(t, runbook.OutcomeNormal, c.outcome("web-1").Outcome)
	require.EqualValues(t, 3, c.tally("r1").Total)
	require.Equal(t, runbook.RestoreRunning, c.tally("r1").State, "it waits for those that have appeared")

	c.polls(ahead, "7", runbook.StateConflictPaused)
	c.await(ahead, runbook.StateConflictPaused)
	_, err := c.resume(ahead, "u1", runbook.ResumeRequest{By: "alice"})
	require.NoError(t, err)
	c.rendered(ahead, "8")
	c.fcReports(ahead, "8")

	// It says that it runs nothing, so that Flight Control releases it, and would never render it.
	c.polls(empty, "0", runbook.StateNormal)
	c.rendered(empty, "1")
	require.Equal(t, runbook.OutcomeNormal, c.outcome(empty).Outcome)
	audited := slices.DeleteFunc(c.audited(empty), func(line string) bool {
		return line == "Approved look service:flightctl" // where its request had a workflow before it was approved
	})
	require.Equal(t, []string{"Repaired  service:rollcall", "T2 look service:flightctl"}, audited)
	require.EqualValues(t, 3, c.completes().Counts[runbook.StateNormal])
}

func TestADenialDeletesTheRequestInFlightControl(t *testing.T) {
	t.Parallel()
	c := newAwaited(t)
	name := c.enrolls("7")
	c.eventually("the watch starts its workflow", func() bool { return c.runs(enrollmentID(name)) })
	denied := c.decide(name, runbook.UpdateDeny, "u1", runbook.DenyRequest{By: "alice", Reason: "not ours", Delete: true})
	require.True(t, denied.Accepted, denied.Message)
	require.Equal(t, []any{runbook.EnrollmentDenied, "alice"}, []any{denied.State, denied.By})
	there, err := c.owner.RequestExists(t.Context(), runbook.DefaultOrgID, name)
	require.NoError(t, err)
	require.False(t, there)
	require.Equal(t, []string{"Denied deny alice"}, c.audited(name))
	require.Equal(t, runbook.EnrollmentDenied, c.enrolled(name).Decision.State)
}

// A request that was decided in Flight Control itself: its workflow is told and ends, and the audit says who decided.
func TestAWorkflowFollowsWhatFlightControlDecides(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	die := c.work("", "")
	c.fleet(map[string]string{"web-1": "5"})
	c.begin()
	c.await("web-1", runbook.StateAwaitingReconnect)
	approved, deleted, later := c.enrolls("7"), c.enrolls("7"), c.enrolls("7")
	c.eventually("the watch starts their workflows", func() bool {
		return c.runs(enrollmentID(approved)) && c.runs(enrollmentID(deleted)) && c.runs(enrollmentID(later))
	})
	require.NoError(t, c.beside.Approve(t.Context(), runbook.DefaultOrgID, approved, nil, false))
	require.NoError(t, c.beside.DeleteEnrollmentRequest(t.Context(), runbook.DefaultOrgID, deleted))

	result := c.enrolled(approved)
	require.Equal(t, []any{runbook.EnrollmentApproved, inventory.ActorFlightctl},
		[]any{result.Decision.State, result.Decision.By})
	require.Contains(t, result.Decision.Reason, "approved in Flight Control by")
	c.await(approved, runbook.StateAwaitingReconnect)
	result = c.enrolled(deleted)
	require.Equal(t, []any{runbook.EnrollmentGone, inventory.ActorFlightctl},
		[]any{result.Decision.State, result.Decision.By})
	require.Equal(t, []string{"Deleted look service:flightctl"}, c.audited(deleted))
	require.Contains(t, c.audited(approved), "Approved look service:flightctl")

	// What is decided while no worker runs, the next one tells.
	die()
	require.NoError(t, c.beside.DeleteEnrollmentRequest(t.Context(), runbook.DefaultOrgID, later))
	c.works()
	require.Equal(t, runbook.EnrollmentGone, c.enrolled(later).Decision.State)

	checker := invariants.Checker{DB: c.owner.DB(), Temporal: c.client, Settle: waitLimit}
	found, err := checker.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
}
