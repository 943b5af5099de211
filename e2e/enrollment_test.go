package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// request imports an enrollment request; known is its spec.knownRenderedVersion.
func (s *site) request(name, known, status string) *site {
	s.t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "flightctl.io/v1beta1", "kind": "EnrollmentRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"csr": csr(s.t, name), "knownRenderedVersion": known}, "status": json.RawMessage(status),
	})
	require.NoError(s.t, err)
	_, err = s.store.Import(s.t.Context(), strings.NewReader(string(text)), inventory.ImportOptions{})
	require.NoError(s.t, err)
	return s
}

// csr is a signing request of a key of its own.
func csr(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

const pending = `{"conditions": []}`

func enrollmentID(name string) string {
	return runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, name)
}

// enroll starts the workflow of a request that arrived after the restore, as whoever takes requests in does.
func (s *site) enroll(name string) {
	s.t.Helper()
	_, err := s.client.ExecuteWorkflow(s.t.Context(),
		client.StartWorkflowOptions{ID: enrollmentID(name), TaskQueue: s.taskQueue},
		runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: runbook.DefaultOrgID, Name: name})
	require.NoError(s.t, err)
}

// decide puts a decision to a request's workflow and returns its answer.
func (s *site) decide(name, update, id string, request any) runbook.EnrollmentDecision {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	handle, err := s.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: enrollmentID(name), UpdateID: id, UpdateName: update, Args: []any{request},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(s.t, err)
	var decision runbook.EnrollmentDecision
	require.NoError(s.t, handle.Get(ctx, &decision))
	return decision
}

func (s *site) approve(name, by string) runbook.EnrollmentDecision {
	s.t.Helper()
	return s.decide(name, runbook.UpdateApprove, "by-"+by,
		runbook.ApproveRequest{By: by, Labels: map[string]string{"site": "berlin"}})
}

func (s *site) enrolled(name string) runbook.EnrollmentResult {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	var result runbook.EnrollmentResult
	require.NoError(s.t, s.client.GetWorkflow(ctx, enrollmentID(name), "").Get(ctx, &result))
	return result
}

func TestEachRowOfTheEnrollmentTable(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).
		request("in-backup", "", pending).request("stays-pending", "7", pending).
		request("approved", "7", `{"approval": {"approved": true}}`)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", By: "test"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("each pending request has a workflow", func() bool {
		return s.runs(enrollmentID("in-backup")) && s.runs(enrollmentID("stays-pending"))
	})
	require.False(t, s.runs(enrollmentID("approved")), "requests already approved in the backup are left alone")
	for name, known := range map[string]string{"deployed": "7", "fresh": "0", "empty": ""} {
		s.request(name, known, pending).enroll(name)
	}

	require.Equal(t, runbook.StateAwaitingReconnect, s.approve("in-backup", "alice").Device)
	require.Equal(t, runbook.StateAwaitingReconnect, s.approve("deployed", "alice").Device)
	require.Equal(t, runbook.StateNormal, s.approve("fresh", "alice").Device)
	require.Equal(t, runbook.StateNormal, s.approve("empty", "alice").Device)
	require.EqualValues(t, 3, s.tally("r1").Total, "who joins late is in the tally")

	s.reports("web-1", "5")
	s.await("in-backup", runbook.StateAwaitingReconnect)
	s.await("deployed", runbook.StateAwaitingReconnect)
	s.reports("in-backup", "0")
	require.Equal(t, runbook.OutcomeNormal, s.enrolled("in-backup").Device.Outcome)
	require.Equal(t, runbook.RestoreRunning, s.tally("r1").State, "a late joiner holds it open")
	s.reports("deployed", "7")
	s.await("deployed", runbook.StateConflictPaused)
	decision, err := s.resume("deployed", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.Equal(t, "8", decision.Next)

	status, err := s.result(run)
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreCompleted, status.State)
	require.EqualValues(t, 3, status.Total)
	require.EqualValues(t, 3, status.Counts[runbook.StateNormal])
	require.True(t, s.runs(enrollmentID("stays-pending")), "a pending request does not keep the restore open")

	// After the restore there is no roll, and the next one has the device on its own.
	require.Empty(t, s.approve("stays-pending", "alice").RestoreID)
	require.Nil(t, s.enrolled("stays-pending").Device)
}

func TestDecisionsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).
		request("new", "7", pending).request("web-1", "7", pending).request("unwanted", "7", pending)
	s.restore(runbook.RestoreInput{RestoreID: "r1"})
	for _, name := range []string{"new", "web-1", "unwanted"} {
		s.eventually("each pending request has a workflow", func() bool { return s.runs(enrollmentID(name)) })
	}
	require.True(t, s.approve("new", "alice").Accepted)
	require.True(t, s.approve("new", "alice").Accepted, "the same request has the same answer")
	again := s.approve("new", "bob")
	require.Equal(t, runbook.CodeAlreadyApproved, again.Code)
	require.Equal(t, "alice", again.By)
	require.Equal(t, runbook.CodeDeviceExists, s.approve("web-1", "alice").Code)
	require.True(t, s.runs(enrollmentID("web-1")), "it is still to be decided")
	require.True(t,
		s.decide("unwanted", runbook.UpdateDeny, "d", runbook.DenyRequest{By: "alice", Reason: "unknown"}).Accepted)
	require.Equal(t, runbook.EnrollmentDenied, s.enrolled("unwanted").Decision.State)
	handle, err := s.client.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: enrollmentID("web-1"), UpdateName: runbook.UpdateApprove, Args: []any{runbook.ApproveRequest{}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(t.Context(), nil)
	}
	require.ErrorContains(t, err, "does not say who decides")
	require.EqualValues(t, 2, s.tally("r1").Total)
}

func TestTwoApprovalsAndADenialAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().request("new", "", pending).request("denied", "", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	_, err := s.result(run)
	require.NoError(t, err)
	s.stopWorker()
	// Both approvals, and the approval and the denial, are read in one workflow task.
	for id, payload := range map[string]any{
		"new": runbook.ApproveRequest{By: "bob"}, "denied": runbook.ApproveRequest{By: "mallory"},
	} {
		require.NoError(t, s.client.SignalWorkflow(t.Context(), enrollmentID(id), "", runbook.SignalApprove, payload))
	}
	require.NoError(t,
		s.client.SignalWorkflow(t.Context(), enrollmentID("new"), "", runbook.SignalApprove,
			runbook.ApproveRequest{By: "carol"}))
	require.NoError(t,
		s.client.SignalWorkflow(t.Context(), enrollmentID("denied"), "", runbook.SignalDeny,
			runbook.DenyRequest{By: "alice"}))
	s.startWorker()
	require.Equal(t, "bob", s.enrolled("new").Decision.By)
	require.Equal(t, runbook.EnrollmentDenied, s.enrolled("denied").Decision.State,
		"who is to be kept out does not slip in")
	rows, err := s.store.Transitions(t.Context(), runbook.DefaultOrgID, "new", 0)
	require.NoError(t, err)
	require.Equal(t, runbook.CodeAlreadyApproved, rows[1].Code)
	require.Equal(t, "carol", rows[1].Actor)
}

func TestSupersedeWithALateJoiner(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).request("late", "7", pending)
	first := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("late")) })
	require.Equal(t, "r1", s.approve("late", "alice").RestoreID)
	s.await("late", runbook.StateAwaitingReconnect)
	second := s.restore(runbook.RestoreInput{RestoreID: "r2", Supersede: true})
	ended, err := s.result(first)
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreSuperseded, ended.State)
	require.Equal(t, runbook.OutcomeSuperseded, s.enrolled("late").Device.Outcome)
	s.eventually("both wait for the new restore", func() bool {
		for _, name := range []string{"web-1", "late"} {
			status, err := s.status(name)
			if err != nil || status.RestoreID != "r2" || !s.runs(deviceID(name)) {
				return false
			}
		}
		return true
	})
	s.reports("web-1", "5")
	s.reports("late", "0")
	done, err := s.result(second)
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Counts[runbook.StateNormal])
}

func TestCancelAndTakeUpAgainWithALateJoiner(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().request("late", "7", pending).fleet(map[string]string{"web-1": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("late")) })
	require.True(t, s.approve("late", "alice").Accepted)
	s.await("late", runbook.StateAwaitingReconnect)
	require.NoError(t, s.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	_, err := s.result(run)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	s.eventually("its wait has ended", func() bool { return !s.runs(deviceID("late")) })
	require.Nil(t, s.enrolled("late").Device)

	run = s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("late", runbook.StateAwaitingReconnect)
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.reports("late", "0")
	s.reports("web-1", "5")
	done, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Total)
}

// A restore whose workflow was terminated leaves its late joiners to their enrollments; the run that takes it up again
// has them on its roll, and takes them over.
func TestTerminatedRestoreIsTakenUpAgainWithALateJoiner(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().request("late", "7", pending).fleet(map[string]string{"web-1": "5"})
	s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("late")) })
	require.True(t, s.approve("late", "alice").Accepted)
	s.await("late", runbook.StateAwaitingReconnect)
	require.NoError(t, s.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), "", "by mistake"))
	s.eventually("its children end with it", func() bool { return !s.runs(deviceID("web-1")) })
	require.True(t, s.runs(deviceID("late")), "it is its enrollment's")
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.reports("web-1", "5")
	s.eventually("the restore runs the late joiner", func() bool {
		d, err := s.client.DescribeWorkflowExecution(t.Context(), deviceID("late"), "")
		return err == nil && d.GetWorkflowExecutionInfo().GetCloseTime() == nil &&
			d.GetWorkflowExecutionInfo().GetParentExecution().GetWorkflowId() == runbook.RestoreWorkflowID("r1")
	})
	s.reports("late", "0")
	done, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Total)
}
