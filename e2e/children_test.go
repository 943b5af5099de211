package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	"rollcall/runbook"
)

// policies are the parent close policies of the children that a workflow has asked for.
func (s *site) policies(workflowID string) (policies []enumspb.ParentClosePolicy) {
	s.t.Helper()
	for _, event := range s.events(workflowID, "") {
		if asked := event.GetStartChildWorkflowExecutionInitiatedEventAttributes(); asked != nil {
			policies = append(policies, asked.GetParentClosePolicy())
		}
	}
	return policies
}

// A device ends with its restore, or the one that takes the roll up again would find its name taken. A late joiner
// does not end with its enrollment. And a restore that is cancelled leaves none of its devices' workflows, whoever
// started them.
func TestWhoEndsWithWhom(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).request("late", "7", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("late")) })
	require.True(t, s.approve("late", "alice").Accepted)
	s.await("late", runbook.StateAwaitingReconnect)
	require.Equal(t, []enumspb.ParentClosePolicy{enumspb.PARENT_CLOSE_POLICY_TERMINATE},
		s.policies(runbook.RestoreWorkflowID("r1")))
	require.Equal(t, []enumspb.ParentClosePolicy{enumspb.PARENT_CLOSE_POLICY_ABANDON}, s.policies(enrollmentID("late")))

	// After a take-up a late joiner has a place within the total of the roll's first list, and is no one's child.
	require.NoError(t,
		s.client.TerminateWorkflow(t.Context(), enrollmentID("late"), "", "so that nothing starts it again"))
	s.owner.DB().MustExec(`update rollcall.roll set seq = 7 where name = 'web-1'`)
	s.owner.DB().MustExec(`update rollcall.roll set seq = 0 where name = 'late'`)
	require.NoError(t, s.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	_, err := s.result(run)
	require.Error(t, err)
	s.eventually("nothing waits any more", func() bool { return !s.runs(deviceID("web-1")) && !s.runs(deviceID("late")) })
}
