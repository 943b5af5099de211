package activities

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

// lookedAt counts the looks that workflows were sent.
type lookedAt map[string]int

func (l lookedAt) SignalWorkflow(_ context.Context, workflowID, _, _ string, _ any) error {
	l[workflowID]++
	return nil
}

// The workflow of an approved request runs on while its device is waited for, and is listed each minute. It is told of
// the approval once, and again where the request was pending in between.
func TestAWorkflowIsToldOfADecisionOnce(t *testing.T) {
	t.Parallel()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	store.DB().MustExec(`insert into enrollment_requests (org_id, name, spec, status, resource_version, created_at,
		updated_at) values ($1, 'late', '{}', '{"approval": {"approved": true}}', 1, now(), now())`, runbook.DefaultOrgID)
	looks := lookedAt{}
	w := newWatch(&Activities{Inventory: store, Temporal: looks}, "r1")
	request := inventory.PendingRequest{OrgID: runbook.DefaultOrgID, Name: "late"}
	type set = map[inventory.PendingRequest]bool
	told := set{}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	tell := func(ctx context.Context, pending bool) error {
		listed, all := set{request: true}, set{}
		if pending {
			all[request] = true
		}
		return w.tellDecided(ctx, listed, all, told)
	}
	env.RegisterActivity(tell)
	for i, step := range []struct {
		pending bool
		looks   int
	}{{false, 1}, {false, 1}, {true, 1}, {false, 2}, {false, 2}} {
		_, err := env.ExecuteActivity(tell, step.pending)
		require.NoError(t, err)
		require.Equal(t, step.looks, looks[runbook.EnrollmentWorkflowID(request.OrgID, request.Name)], "round %d", i)
	}
}
